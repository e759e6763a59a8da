// Package edge is a caching reverse proxy: Pointsman's own CDN.
//
// Client requests flow in over the listeners, origin answers over the transport; answers flow
// out with Age and Cache-Status, and purges take effect before Purge returns. What may be kept
// and reused is decided in edge/freshness, where it is kept is edge/storage; here a request is
// looked up, decided on, and, if need be, fetched, one fetch for all who wait for the same
// thing.
//
// Goroutines: New starts none. Run owns the listeners' and ends after the last of them. Fetches
// run apart from the clients that wait for them, so that a client that leaves harms nobody;
// they belong to the server, and Close (which Run calls) cancels them and waits for the last.
//
// Choices that a reader may want to know:
//   - Set-Cookie does not forbid storing (RFC 9111 §7.3), but a response that sets a cookie
//     gets no guessed lifetime: it is stored only with a stated one.
//   - Cookie selects nothing unless Vary names it. Authorization is handled as RFC 9111 §3.5.
//   - Surrogate-Key and Cache-Tag are read and, unless Config.ExposeTags, not passed on.
//   - The key holds the host without its port, so the origin is never told a port either, nor
//     other request fields that could change an answer behind the key's back (X-Forwarded-Host,
//     Forwarded, X-Original-URL and their kin).
//   - Requests with more than one range get the whole object.
package edge
