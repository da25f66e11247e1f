package peer

import (
	"io"
	"net/http"
)

// Empty is a handler that reads its body and answers: what HTTP alone costs.
func Empty(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}
