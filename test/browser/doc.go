// Package browser holds tests of the web console in Debian's chromium, against a real node in
// this process. There is no code here but tests.
package browser
