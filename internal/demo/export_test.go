package demo

import (
	"net/http"
	"time"
)

// NewOrigin returns the demo's site with a clock of the test's own.
func NewOrigin(now func() time.Time) http.Handler { return newOrigin(now) }
