package api

import (
	_ "embed"
	"net/http"
)

// openAPI is the description of the API, in OpenAPI 3.1. It is written by hand and
// is the reference for clients; openapi_test.go and checked_test.go hold the
// handlers to it.
//
//go:embed openapi.yaml
var openAPI []byte

// openAPI serves the description as it is in the repository.
func (s *server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI)
}
