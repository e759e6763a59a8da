package config

import (
	"strconv"
	"strings"
)

// Source knows where each value came from. It is immutable once Load has returned it.
type Source struct {
	file string
	// values indexes the file: where a path's value begins, or the key of a section or list.
	values map[string]Position
	// origins names the variable or flag of a path that did not come from the file.
	origins map[string]string
}

func newSource(file string) *Source {
	return &Source{
		file: file, values: map[string]Position{}, origins: map[string]string{},
	}
}

// Locate returns where in the file the value of path begins. It reports false for a value
// that came from the environment, a flag or a default.
func (s *Source) Locate(path string) (Position, bool) {
	if _, ok := s.origins[path]; ok {
		return Position{}, false
	}
	p, ok := s.values[path]
	return p, ok
}

// Finding places a message: at the path's value, or else at the nearest ancestor that the
// file, the environment or a flag set, or else at the file's first line.
func (s *Source) Finding(path, message string) Finding {
	f := Finding{File: s.file, Path: path, Message: message}
	for at := path; at != ""; at = parent(at) {
		if origin, ok := s.origins[at]; ok {
			f.File = origin
			return f
		}
		if p, ok := s.values[at]; ok {
			f.Line, f.Col = p.Line, p.Col
			return f
		}
	}
	if len(s.values) > 0 {
		f.Line, f.Col = 1, 1
	}
	return f
}

// set records that the environment or a flag set a path, and with it the sections and list
// elements above it that the file does not have. Elements of a list that is set whole are the
// file's no longer.
func (s *Source) set(path, origin string) {
	s.origins[path] = origin
	for i := 0; s.has(element(path, i)); i++ {
		delete(s.values, element(path, i))
		delete(s.origins, element(path, i))
	}
	for path = parent(path); path != "" && !s.has(path); path = parent(path) {
		s.origins[path] = origin
	}
}

// has reports whether anything but a default set the path.
func (s *Source) has(path string) bool {
	_, fromFile := s.values[path]
	_, fromElsewhere := s.origins[path]
	return fromFile || fromElsewhere
}

// child is the path of a key below path.
func child(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// element is the path of the list element i below path.
func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// parent takes the last key or index away; the parent of a top-level key is "".
func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	return path[:max(i, 0)]
}

// split breaks a path as in pools[0].members[1] or pools.0.members.1 into its steps.
func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}
