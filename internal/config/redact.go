package config

import "fmt"

// A pointer inside a struct is rendered by fmt without asking the methods of what it points
// at when the verb does not fit pointers, as in %s: a secret.String behind it would be shown.
// So each type that holds secrets and is used by pointer has a Format of its own, which fmt
// asks first and which hands the same verb on to the plain struct.

// Format implements fmt.Formatter.
func (c Config) Format(f fmt.State, verb rune) {
	type plain Config
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), plain(c))
}

// Format implements fmt.Formatter.
func (r Redis) Format(f fmt.State, verb rune) {
	type plain Redis
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), plain(r))
}

// Format implements fmt.Formatter.
func (p Provider) Format(f fmt.State, verb rune) {
	type plain Provider
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), plain(p))
}

// Format implements fmt.Formatter.
func (t Token) Format(f fmt.State, verb rune) {
	type plain Token
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), plain(t))
}
