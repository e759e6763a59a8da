package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"pointsman/internal/admin/api"
)

// Feeds are the APIs that say what backends' metadata are. Errors are problems.
type Feeds interface {
	List() []api.Feed
	// Changes reports whether a document says something else of metadata than was said before.
	Changes(name string, document []byte) (bool, error)
	Push(ctx context.Context, name string, document []byte, actor string) (api.FeedOutcome, error)
	Clear(ctx context.Context, name, backend, actor string) (api.FeedOutcome, error)
}

func (s *Server) feeds(context.Context, *none) (*body[[]api.Feed], error) {
	if s.cfg.Feeds == nil {
		return nil, absent("steering")
	}
	return answer(s.cfg.Feeds.List())
}

type feedInput struct {
	Name string `path:"name" maxLength:"128"`
	Body json.RawMessage
}

// pushFeed takes a document. What says the same as before is no act, and not recorded: feeds speak
// every few seconds. A measurement must not be lost since the audit log can't be written.
func (s *Server) pushFeed(ctx context.Context, in *feedInput) (*body[api.FeedOutcome], error) {
	if s.cfg.Feeds == nil {
		return nil, absent("steering")
	}
	changes, err := s.cfg.Feeds.Changes(in.Name, in.Body)
	if err != nil {
		return nil, fail(err)
	}
	if changes {
		if err := s.record(ctx, "feed", in.Name, shortened(in.Body), true); err != nil {
			return nil, err
		}
	}
	out, err := s.cfg.Feeds.Push(ctx, in.Name, in.Body, callerOf(ctx).actor)
	if err != nil {
		return nil, fail(err)
	}
	return answer(out)
}

// shortened is a document as the audit log keeps it.
func shortened(document []byte) string {
	const most = 500
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(document), "?")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

type clearInput struct {
	Name    string `path:"name" maxLength:"128"`
	Backend string `query:"backend" maxLength:"128"`
}

// clearFeed forgets what a feed said.
func (s *Server) clearFeed(ctx context.Context, in *clearInput) (*body[api.FeedOutcome], error) {
	if s.cfg.Feeds == nil {
		return nil, absent("steering")
	}
	if in.Backend != "" {
		if err := s.knownBackend(in.Backend); err != nil {
			return nil, err
		}
	}
	target := strings.TrimSpace(fmt.Sprintf("%s %s", in.Name, in.Backend))
	if err := s.record(ctx, "clear feed", target, "", true); err != nil {
		return nil, err
	}
	out, err := s.cfg.Feeds.Clear(ctx, in.Name, in.Backend, callerOf(ctx).actor)
	if err != nil {
		return nil, fail(err)
	}
	return answer(out)
}
