package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// maxFile is the largest configuration, in bytes. One with 2,000 backends takes about half.
const maxFile = 1 << 20

// read returns the file's bytes, or false after a mistake.
func (l *loader) read() ([]byte, bool) {
	if l.opts.Path == "" {
		return l.opts.Data, l.fits(int64(len(l.opts.Data)))
	}
	data, total, err := readConfig(l.opts.Path)
	if err != nil {
		l.report.add(Finding{File: l.src.file, Message: "cannot be read: " + reason(err)})
		return nil, false
	}
	return data, l.fits(total)
}

func (l *loader) fits(total int64) bool {
	if total <= maxFile {
		return true
	}
	l.report.add(Finding{
		File: l.src.file, Message: fmt.Sprintf("is %s; the limit is 1 MiB", human(total)),
	})
	return false
}

// human renders a size for people, rounded down to a tenth.
func human(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d bytes", n)
	}
	tenths := n * 10 >> 20
	return strings.TrimSuffix(fmt.Sprintf("%d.%d", tenths/10, tenths%10), ".0") + " MiB"
}

// readConfig is readFile for the configuration, which is read again at each reload. Opening
// anything but a regular file might wait for ever.
func readConfig(path string) ([]byte, int64, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, err
	case info.Mode()&fs.ModeNamedPipe != 0:
		return nil, 0, errors.New("it is not a regular file but a pipe, which can be read only " +
			"once: write it to a file first")
	case !info.Mode().IsRegular() && !info.IsDir():
		return nil, 0, errors.New("it is not a regular file")
	}
	return readFile(path, maxFile)
}

// readFile reads a regular file or a pipe, but no more than one byte beyond limit, and
// returns how long the file is.
func readFile(path string, limit int64) ([]byte, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if info.IsDir() {
		return nil, 0, errors.New("it is a directory")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, 0, err
	}
	return data, max(int64(len(data)), info.Size()), nil
}

// reason is an error without the file's name, which the finding has already.
func reason(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.As(err, &path):
		return path.Err.Error()
	}
	return err.Error()
}

// file reads the configuration file as a tree of typed values. It returns false when there is
// no tree at all; mistakes inside the tree are in the report.
func (l *loader) file() (map[string]any, bool) {
	if l.opts.Path == "" && l.opts.Data == nil {
		return map[string]any{}, true
	}
	data, ok := l.read()
	if !ok || !l.readable(data) {
		return nil, false
	}
	root, ok := l.parseYAML(data)
	if !ok {
		return nil, false
	}
	v, ok := l.node(root, l.schema, "", 1)
	tree, _ := v.(map[string]any)
	return tree, ok && !l.overflow
}

// readable refuses what is no text, at the first byte that shows it.
func (l *loader) readable(data []byte) bool {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		l.refuse(Position{1, 1}, "is UTF-16, and UTF-8 is wanted")
		return false
	}
	line, start := 1, 0
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		col := i - start + 1
		switch {
		case r == utf8.RuneError && n == 1:
			l.refuse(Position{line, col}, "is not UTF-8 text: a stray byte 0x%02x", data[i])
			return false
		case r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f:
			l.refuse(Position{line, col}, "is not text: a control byte 0x%02x", data[i])
			return false
		case r == '\n':
			line, start = line+1, i+1
		}
		i += n
	}
	return true
}

// refuse records a mistake of the file as a whole.
func (l *loader) refuse(at Position, format string, args ...any) {
	l.report.add(Finding{
		File: l.src.file, Line: max(at.Line, 1), Col: max(at.Col, 1),
		Message: fmt.Sprintf(format, args...),
	})
}

func (l *loader) parseYAML(data []byte) (*yaml.Node, bool) {
	yamlLoader, err := yaml.NewLoader(bytes.NewReader(data),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		l.refuse(Position{}, "cannot be read as YAML: %v", err)
		return nil, false
	}
	var doc, next yaml.Node
	if err := yamlLoader.Load(&doc); err != nil {
		l.syntaxError(err, data)
		return nil, false
	}
	if err := yamlLoader.Load(&next); err == nil {
		l.refuse(Position{next.Line, next.Column}, "a second document begins here, and one "+
			"file holds one configuration")
		return nil, false
	} else if !errors.Is(err, io.EOF) {
		l.syntaxError(err, data)
		return nil, false
	}
	if len(doc.Content) != 1 {
		l.refuse(Position{}, "holds no configuration")
		return nil, false
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		l.refuse(Position{root.Line, root.Column}, "must be a section with keys at the top "+
			"level, not %s", described(root))
		return nil, false
	}
	return root, true
}

// syntaxError turns the parser's error into a mistake. Its words are kept only where they
// cannot hold a piece of the file, which may be a secret that stands where none should.
func (l *loader) syntaxError(err error, data []byte) {
	if errors.Is(err, io.EOF) {
		l.refuse(Position{}, "holds no configuration")
		return
	}
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		l.refuse(Position{}, "is not YAML")
		return
	}
	at := Position{le.Mark.Line, le.Mark.Column}
	switch {
	case le.Stage == yaml.ComposerStage:
		l.refuse(at, "is not YAML: * refers to an anchor that is nowhere (quote text that "+
			"begins with *)")
	case strings.Contains(le.Message, "max depth"):
		l.refuse(at, "is nested too deeply: at most %d levels", maxDepth)
	case strings.Contains(le.Message, "tab character") || tabAt(data, at):
		l.refuse(at, "a tab indents this line: YAML takes blanks alone")
	case strings.ContainsAny(le.Message, "`\"") || le.Stage == yaml.ResolverStage:
		l.refuse(at, "is not YAML")
	case le.ContextMsg != "":
		l.refuse(at, "is not YAML: %s (%s from line %d)", le.Message, le.ContextMsg,
			max(le.ContextMark.Line, 1))
	default:
		l.refuse(at, "is not YAML: %s", le.Message)
	}
}

// tabAt reports whether a tab is what stands at a place.
func tabAt(data []byte, at Position) bool {
	for line := 1; line < at.Line; line++ {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return false
		}
		data = data[i+1:]
	}
	return at.Col >= 1 && at.Col <= len(data) && data[at.Col-1] == '\t'
}
