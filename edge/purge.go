package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"pointsman/edge/storage"
)

// Purged is the outcome of a purge.
type Purged struct {
	// Objects is the number of stored objects that were hit; see storage.Purged.
	Objects int
	// Generation is the last one that the purge raised the cache to. It grows with every item
	// purged, and starts anew with the process.
	Generation uint64
}

// Purge removes objects, or, with soft, makes them stale and keeps them for validation and for
// when the origin fails. It holds once it has returned, for objects on their way from the
// origin too. Kinds, and what their items are:
//
//   - "url": an absolute URL, or host/path: that object with all its variants, for http and
//     https alike; a port is ignored, as the cache's keys have none;
//   - "prefix": the same form; every object whose URL begins so, byte by byte, on that host;
//   - "host": a host name;
//   - "tag": a surrogate key, compared byte by byte;
//   - "everything": no items.
//
// Any item that can't be read fails the call, and nothing is purged then.
func (s *Server) Purge(kind string, items []string, soft bool) (Purged, error) {
	targets, err := targetsOf(kind, items)
	if err != nil {
		return Purged{}, fmt.Errorf("purging by %s: %w", kind, err)
	}
	var sum Purged
	for _, t := range targets {
		p := s.cache.Purge(t, soft, s.now())
		sum.Objects += p.Objects
		sum.Generation = p.Generation
	}
	s.metrics.purged(kind, soft, len(targets))
	s.log.Info("cache purged", "kind", kind, "items", len(targets), "soft", soft,
		"objects", sum.Objects)
	return sum, nil
}

// targetsOf reads a purge's items.
func targetsOf(kind string, items []string) ([]storage.Target, error) {
	if kind == "everything" {
		if len(items) > 0 {
			return nil, errors.New("everything takes no items")
		}
		return []storage.Target{{Kind: storage.Everything}}, nil
	}
	if len(items) == 0 {
		return nil, errors.New("no item given")
	}
	var targets []storage.Target
	var errs []error
	for _, item := range items {
		t, err := targetOf(kind, item)
		targets, errs = append(targets, t), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return targets, nil
}

// targetOf reads one item.
func targetOf(kind, item string) (storage.Target, error) {
	switch kind {
	case "url", "prefix":
		t := storage.Target{Kind: storage.URL}
		if kind == "prefix" {
			t.Kind = storage.Prefix
		}
		var err error
		t.Host, t.Path, err = splitURL(item)
		return t, err
	case "host":
		host := hostOf(&http.Request{Host: item})
		if err := checkHost(host); err != nil {
			return storage.Target{}, err
		}
		return storage.Target{Kind: storage.Host, Host: host}, nil
	case "tag":
		if item == "" || strings.ContainsAny(item, " \t\r\n,") {
			return storage.Target{}, fmt.Errorf("tag %q is empty, or has a space or comma", item)
		}
		return storage.Target{Kind: storage.Tag, Tag: item}, nil
	}
	return storage.Target{}, fmt.Errorf("kind %q is none of url, prefix, host, tag, everything",
		kind)
}

// splitURL reads the host and the path, with its query, that a URL has in the cache's keys.
func splitURL(item string) (host, path string, err error) {
	text := item
	if !strings.Contains(text, "://") {
		text = "http://" + strings.TrimPrefix(text, "//")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("parsing %q: %w", item, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "", fmt.Errorf("%q is neither an http nor an https URL", item)
	case u.User != nil:
		return "", "", errors.New("a URL to purge must have no user")
	}
	host = hostOf(&http.Request{Host: u.Host})
	if err := checkHost(host); err != nil {
		return "", "", fmt.Errorf("reading %q: %w", item, err)
	}
	return host, pathOf(u), nil
}

// pathOf is the path of a URL in the cache's keys.
func pathOf(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		path += "?" + u.RawQuery
	}
	return path
}
