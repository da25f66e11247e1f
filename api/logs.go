package api

import (
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/pkg/event"
)

// This file serves GET /logs and GET /logs/{log}, the logs of the server with
// their keys and sizes, POST /logs, which creates one, and PATCH /logs/{log}, which
// changes its settings. The engine holds them
// all, broken ones included; the database is asked for sizes only. There is no
// paging: a server has few logs. A request to create one is at most maxChange
// bytes.

type logInfo struct {
	Name      string    `json:"name"`
	Origin    string    `json:"origin"`
	VKey      string    `json:"vkey,omitempty"` // Ed25519
	VKeys     []string  `json:"vkeys"`
	Created   time.Time `json:"created"`
	Size      uint64    `json:"size"`              // integrated
	Published uint64    `json:"published"`         // under the newest checkpoint
	Writer    string    `json:"writer,omitempty"`  // URL of the server that holds its lease, if known
	Problem   string    `json:"problem,omitempty"` // why the log cannot be used, or is not signed or cosigned

	Settings *access.LogSettings `json:"settings,omitempty"` // with access control
}

type logList struct {
	Logs []logInfo `json:"logs"`
}

// listLogs serves all logs, by name.
func (s *server) listLogs(w http.ResponseWriter, r *http.Request) {
	list := logList{Logs: []logInfo{}}
	for _, l := range s.Engine.Logs() {
		if !s.knows(r, l.Name) {
			continue
		}
		info, err := s.describe(r, l)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		list.Logs = append(list.Logs, info)
	}
	_ = reply(w, http.StatusOK, list)
}

// showLog serves one log. A broken one does not get here, see withLog; the list
// shows what its problem is.
func (s *server) showLog(w http.ResponseWriter, r *http.Request, l *engine.Log) error {
	info, err := s.describe(r, l)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, info)
}

// describe returns the public description of a log. A broken one has its problem
// in it, and no sizes. The keys are there for convenience: a verifier needs them
// from elsewhere.
func (s *server) describe(r *http.Request, l *engine.Log) (logInfo, error) {
	info := logInfo{Name: l.Name, Origin: l.Origin, VKeys: l.VKeys, Created: l.Created}
	if s.Access != nil {
		settings := s.Access.Settings(l.Name)
		info.Settings = &settings
	}
	if len(l.VKeys) == 0 {
		info.VKeys = []string{}
	} else {
		info.VKey = l.VKeys[0]
	}
	if l.Broken != nil {
		info.Problem = publicText(brokenError{l.Broken})
		return info, nil
	}
	head, err := l.Stored.Head(r.Context())
	if err != nil {
		return info, err
	}
	info.Size = head.Size
	info.Writer = l.Sequencer.Writer()
	if published, err := l.Publisher.Latest(); err == nil {
		info.Published = published.Size
	}
	if problem, written := problemOfLog(l); problem != nil && (written || l.Publisher.Refusal() != nil) {
		info.Problem = publicText(problem)
	}
	return info, nil
}

const maxChange = 64 << 10 // bytes of what changes the server

// A newLog has the fields of [engine.NewLog], which explains them.
type newLog struct {
	Name    string `json:"name"`
	Origin  string `json:"origin"` // by default OriginPrefix and Name
	MLDSA44 bool   `json:"mldsa44"`
	access.LogSettings
}

// createLog creates a log, and answers with 201 once it can be written to or is
// known not to be. It cannot be undone: a log is never deleted or renamed.
func (s *server) createLog(w http.ResponseWriter, r *http.Request) error {
	n, err := s.readNewLog(w, r)
	if err != nil {
		return err
	}
	if n.Origin == "" {
		n.Origin = strings.TrimSuffix(s.OriginPrefix, "/") + "/" + n.Name
	}
	s.creating.Lock()
	defer s.creating.Unlock()
	if err := s.mayCreate(r, n); err != nil {
		return err
	}
	wanted := engine.NewLog{Name: n.Name, Origin: n.Origin, MLDSA44: n.MLDSA44}
	if s.Access != nil {
		change, err := s.changeOf(r)
		if err == nil {
			err = s.Access.MayChange(r.Context(), change)
		}
		if err != nil {
			return err
		}
		wanted.Record = func(l *engine.Log) error {
			return s.Access.RecordLog(r.Context(), change, access.Log{Name: l.Name, Origin: l.Origin, VKeys: l.VKeys, LogSettings: n.LogSettings})
		}
	}
	l, err := s.Engine.Create(r.Context(), wanted)
	if err != nil {
		return err
	}
	info, err := s.describe(r, l)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/logs/"+l.Name)
	return reply(w, http.StatusCreated, info)
}

// mayCreate returns why the caller may not create a log.
func (s *server) mayCreate(r *http.Request, n newLog) error {
	if s.Access == nil {
		if n.LogSettings != (access.LogSettings{}) {
			return badRequest("public and reads are for servers with access control, which this one runs without")
		}
		return nil
	}
	if err := n.LogSettings.Check(); err != nil {
		return err
	}
	return s.Access.MayMake(callerOf(r))
}

// changeLog changes settings of a log.
func (s *server) changeLog(w http.ResponseWriter, r *http.Request) error {
	var settings access.LogSettings
	change, err := s.readChange(w, r, &settings, `{"public": "nothing", "reads": "all"}; either may be left out`)
	if err != nil {
		return err
	}
	l, err := s.Engine.Log(chi.URLParam(r, "log"))
	if err != nil {
		return err
	}
	if err := s.Access.ChangeLog(r.Context(), change, l.Name, settings); err != nil {
		return err
	}
	return s.showLog(w, r, l)
}

// readNewLog reads the body of a request to create a log.
func (s *server) readNewLog(w http.ResponseWriter, r *http.Request) (n newLog, err error) {
	return n, s.readJSON(w, r, &n, `{"name": "...", "origin": "...", "mldsa44": true, "public": "proofs", "reads": "people"}; only name is required`)
}

// readJSON reads a body into v. It insists on a Content-Type that a page of another site
// cannot make a browser send without asking the server first, so that no such page can
// change anything. An error has the example of what to send.
func (s *server) readJSON(w http.ResponseWriter, r *http.Request, v any, example string) error {
	contentType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if contentType != "application/json" {
		return statusError{http.StatusUnsupportedMediaType, "send Content-Type application/json"}
	}
	memory := s.memory.claim()
	defer memory.release()
	body, err := s.readBody(w, r, maxChange, memory)
	if err != nil {
		return err
	}
	defer release(body)
	if err := unmark(*body); err != nil {
		return err
	}
	if err := json.Unmarshal(*body, v, json.RejectUnknownMembers(true)); err != nil {
		return badJSON(err, example)
	}
	return nil
}

// badJSON turns an error of decoding into one that names the place, as errors in
// events do.
func badJSON(err error, example string) error {
	e := &event.Error{Item: -1, Offset: -1, Reason: "not JSON"}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		e.Pointer, e.Offset = string(syntax.JSONPointer), syntax.ByteOffset
		e.Reason += ": " + syntax.Err.Error()
	}
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		e.Pointer, e.Offset = string(semantic.JSONPointer), semantic.ByteOffset
		e.Reason = "unknown member, or a value of the wrong type"
	}
	e.Reason += "; send " + example
	return e
}
