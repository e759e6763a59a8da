package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxDetail bounds a detail in bytes: parts of it come from the network.
const maxDetail = 200

// timedOut reports whether err, or the end of the probe, is a timeout.
func (m *measurement) timedOut(err error) bool {
	var timeout net.Error
	return !time.Now().Before(m.deadline) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

func (m *measurement) dnsFailure(host string, err error) *failure {
	var refused *net.DNSError
	switch {
	case errors.As(err, &refused) && refused.IsNotFound:
		return fail(FailedDNS, "%s does not exist in the DNS", host)
	case m.timedOut(err):
		return fail(FailedDNS, "resolving %s: no answer within %v", host, m.timeout)
	case errors.As(err, &refused):
		return fail(FailedDNS, "resolving %s: %s", host, clean(refused.Err))
	default:
		return fail(FailedDNS, "resolving %s: %s", host, clean(err.Error()))
	}
}

func (m *measurement) connectFailure(err error) *failure {
	remote := m.sample.Remote
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail(FailedConnect, "connection to %v refused", remote)
	case m.timedOut(err):
		return fail(FailedConnect, "connecting to %v: no answer within %v", remote, m.timeout)
	default:
		return fail(FailedConnect, "connecting to %v: %s", remote, cause(err))
	}
}

func (m *measurement) tlsFailure(name string, err error) *failure {
	if f := m.certFailure(name, err); f != nil {
		return f
	}
	var alert tls.AlertError
	var notTLS tls.RecordHeaderError
	switch {
	case m.timedOut(err):
		return fail(FailedTLS, "TLS handshake not done within %v", m.timeout)
	case errors.As(err, &notTLS):
		return fail(FailedTLS, "TLS handshake: the server does not speak TLS")
	case errors.As(err, &alert):
		return fail(FailedTLS, "TLS handshake refused: %s", clean(alert.Error()))
	default:
		return fail(FailedTLS, "TLS handshake: %s", cause(err))
	}
}

// certFailure explains a refused certificate; nil when err is about something else.
func (m *measurement) certFailure(name string, err error) *failure {
	var verification *tls.CertificateVerificationError
	if !errors.As(err, &verification) {
		return nil
	}
	var wrongName x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &wrongName):
		return fail(FailedCert, "certificate is for %s, not for %s", names(wrongName), name)
	case errors.As(err, &unknown):
		return fail(FailedCert, "certificate is signed by an unknown authority")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fail(FailedCert, "%s", m.validity(invalid.Cert))
	default:
		return fail(FailedCert, "certificate: %s", clean(verification.Err.Error()))
	}
}

// validity says on which side of its life the certificate is.
func (m *measurement) validity(cert *x509.Certificate) string {
	now := m.prober.now()
	if now.Before(cert.NotBefore) {
		return "certificate is not valid before " + cert.NotBefore.UTC().Format(time.RFC3339)
	}
	return "certificate expired " + ago(now.Sub(cert.NotAfter)) + " ago"
}

// ago rounds a duration to what a human wants to read.
func ago(d time.Duration) string {
	const day = 24 * time.Hour
	units := []struct {
		size time.Duration
		name string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}}
	for _, u := range units {
		if n := d / u.size; n == 1 {
			return "1 " + u.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return "just"
}

// names lists what a certificate is for, at most three.
func names(e x509.HostnameError) string {
	all := append([]string(nil), e.Certificate.DNSNames...)
	for _, ip := range e.Certificate.IPAddresses {
		all = append(all, ip.String())
	}
	switch {
	case len(all) == 0:
		return "no name"
	case len(all) > 3:
		return clean(strings.Join(all[:3], ", ")) + " and others"
	default:
		return clean(strings.Join(all, ", "))
	}
}

// readFailure is a failure after the request went out.
func (m *measurement) readFailure(what string, err error) *failure {
	switch {
	case m.timedOut(err):
		return fail(FailedTimeout, "%s: not complete within %v", what, m.timeout)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fail(FailedRead, "%s: connection reset", what)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fail(FailedRead, "%s: connection closed in the middle", what)
	default:
		return fail(FailedRead, "%s: %s", what, clean(err.Error()))
	}
}

// cause strips the addresses that net.OpError puts around what happened.
func cause(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "nothing to dial"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF):
		return "connection closed"
	default:
		return clean(err.Error())
	}
}

// clean makes text from the network safe to log and show: printable and bounded.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxDetail {
		return strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return s
}
