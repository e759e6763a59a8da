// Package freshness is the arithmetic of RFC 9111 for a shared cache: may this response be
// stored, how old is it, is it fresh, may it be used stale, does it match this request.
//
// Headers and times flow in, verdicts flow out. Every function is pure: it reads no clock, no
// network and no global state, starts no goroutine and may be called from many at once. Header
// maps are read, never changed.
//
// Where RFC 9111 leaves a choice, the one taken is stated at the function that takes it. The
// choices with consequences are: requests cannot make the cache revalidate (request max-age,
// min-fresh, max-stale and no-cache are advisory by §5.2.1 and are ignored, since anyone could
// use them to load the origin); responses without explicit freshness get a tenth of their age
// by Last-Modified, at most a day, and never when they set a cookie.
package freshness
