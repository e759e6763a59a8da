package dnsserver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// handshakeTime bounds a TLS handshake, if TCPIdle doesn't.
const handshakeTime = 5 * time.Second

// ErrTLSListen is the cause when an address of Config.TLSListen can't be used.
var ErrTLSListen = errors.New("DNS over TLS")

// SetTLS replaces the certificate and whatever else the config says, for connections that begin
// from now on.
func (s *Server) SetTLS(c *tls.Config) {
	c = c.Clone()
	c.NextProtos = []string{"dot"} // RFC 7858 §7.1; a client may go without
	s.tls.Store(c)
}

// listenTLS opens an address for DNS over TLS.
func listenTLS(address string) (*net.TCPListener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	suffix, err := family(host)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp"+suffix, address)
	if err != nil {
		return nil, bindError(address, "TCP", err)
	}
	return ln.(*net.TCPListener), nil
}

// serveSecure answers the queries that come over TLS (RFC 7858).
func (s *Server) serveSecure(ctx context.Context, conn *connection) {
	c := tls.Server(conn, s.tls.Load())
	ctx, cancel := context.WithTimeout(ctx, min(handshakeTime, s.cfg.TCPIdle))
	err := c.HandshakeContext(ctx)
	cancel()
	if err != nil {
		s.metrics.handshakes.Add(1)
		return
	}
	conn.used.Store(time.Now().UnixNano())
	x := s.newStream(conn, c)
	x.tls = true
	x.serve()
	_ = c.Close() // says farewell, if the other side still listens
}

// openTLS binds the addresses for DNS over TLS.
func (s *Server) openTLS() error {
	if len(s.cfg.TLSListen) == 0 {
		return nil
	}
	if s.cfg.TLS == nil {
		return errors.New("listening for TLS needs a certificate")
	}
	s.SetTLS(s.cfg.TLS)
	for _, address := range s.cfg.TLSListen {
		ln, err := listenTLS(address)
		if err != nil {
			return err
		}
		s.secure = append(s.secure, ln)
	}
	return nil
}
