// Package console is the built-in web console: static files that call the admin API like any
// other client, so that there is one truth and one set of permissions. Requests flow in, files
// flow out. It owns no goroutine.
package console

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed static
var files embed.FS

// Handler serves the console at the root of the admin API. It is safe for concurrent use.
func Handler() http.Handler {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the folder is embedded above, so this can't happen
	}
	return http.FileServerFS(static)
}
