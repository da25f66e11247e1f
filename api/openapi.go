package api

import (
	_ "embed"
	"net/http"
)

// openAPI is the description of the API, OpenAPI 3.1.
//
//go:embed openapi.yaml
var openAPI []byte

func (s *server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI)
}
