package stele

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"time"

	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

// A witnessServer is a witness that listens, and the policy that asks for it.
type witnessServer struct {
	db     *witnessdb.DB
	policy *policy.Policy
	close  func()
}

func startWitness(ctx context.Context, path string) (*witnessServer, error) {
	var signers [2]*cosignature.Signer
	for i, typ := range []cosignature.Type{cosignature.Ed25519, cosignature.MLDSA44} {
		skey, _, err := cosignature.GenerateKey(rand.Reader, typ, "witness.example.com")
		if err != nil {
			return nil, err
		}
		if signers[i], err = cosignature.NewSigner(skey, time.Now); err != nil {
			return nil, err
		}
	}
	db, err := witnessdb.OpenSQLite(ctx, path)
	if err != nil {
		return nil, err
	}
	handler, err := witness.NewServer(witness.ServerConfig{Ed25519: signers[0], MLDSA44: signers[1],
		Store: db, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		return nil, err
	}
	server := httptest.NewServer(handler)
	p, err := policy.Parse(fmt.Appendf(nil, "witness w %s %s\ngroup g 1 w\nquorum g\n", signers[1].VKey(), server.URL))
	return &witnessServer{db, p, func() {
		server.Close()
		_ = db.Close()
	}}, err
}

// follow has the witness cosign the log of an origin from now on.
func (w *witnessServer) follow(ctx context.Context, origin string, vkeys []string) error {
	_, err := w.db.AddKeys(ctx, origin, vkeys...)
	return err
}
