package admin

import (
	"context"

	"pointsman/internal/admin/api"
)

// loop tells what the slow loop does.
func (s *Server) loop(context.Context, *none) (*body[api.Loop], error) {
	l := api.Loop{}
	if s.cfg.Loop != nil {
		l = s.cfg.Loop()
	}
	l.Now = s.cfg.Now()
	if l.Scopes == nil {
		l.Scopes = []api.LoopScope{}
	}
	return answer(l)
}
