package suite

import (
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"pointsman/internal/secret"
	"pointsman/providers"
	"pointsman/providers/providertest"
)

// outcome is what a fault must look like through a provider.
type outcome struct {
	class   providers.Class
	status  int // 0 when none came back
	unknown bool
	wait    time.Duration
	effects int // purges that took effect
}

// outcomes says for each fault what the contract wants.
func outcomes() map[providertest.Fault]outcome {
	const (
		refused   = 0
		unknown   = true
		transient = providers.Transient
	)
	return map[providertest.Fault]outcome{
		providertest.BadRequest:   {providers.Invalid, 400, false, 0, refused},
		providertest.Unauthorized: {providers.Auth, 401, false, 0, refused},
		providertest.Forbidden:    {providers.Auth, 403, false, 0, refused},
		providertest.Missing:      {providers.NotFound, 404, false, 0, refused},
		providertest.TooLarge:     {providers.TooLarge, 413, false, 0, refused},
		providertest.Throttled: {providers.Throttled, 429, false,
			providertest.FaultWait, refused},
		providertest.Redirect:    {providers.Invalid, 307, false, 0, refused},
		providertest.ServerError: {transient, 500, unknown, 0, refused},
		providertest.BadGateway:  {transient, 502, unknown, 0, refused},
		providertest.Unavailable: {transient, 503, unknown, providertest.FaultWait, refused},
		providertest.HTML:        {transient, 200, unknown, 0, refused},
		providertest.ResetBefore: {transient, 0, unknown, 0, refused},
		providertest.ResetAfter:  {transient, 0, unknown, 0, 1},
		providertest.Truncated:   {transient, 200, unknown, 0, 1},
		providertest.Garbage:     {transient, 200, unknown, 0, 1},
		providertest.Empty:       {transient, 200, unknown, 0, 1},
		providertest.OtherObject: {transient, 200, unknown, 0, 1},
		providertest.Huge:        {transient, 200, unknown, 0, 1},
	}
}

func faults(t *testing.T, s Setup) {
	for fault, want := range outcomes() {
		t.Run(string(fault), func(t *testing.T) {
			r := newRig(t, s)
			r.double.Inject(fault)
			b := Batch(providers.Tag, 1)
			_, err := r.Purge(t.Context(), b)
			e := problem(t, err)
			got := outcome{e.Class, e.Status, e.Unknown, e.RetryAfter, len(r.double.Applied())}
			if want.status == 200 && got.status == 0 {
				got.status = 200 // a success that cannot be read may count as no answer at all
			}
			if got != want {
				t.Errorf("%v:\n got %+v\nwant %+v", e, got, want)
			}
			if r.double.Calls() != 1 {
				t.Errorf("%d calls: want one attempt and no redirect followed", r.double.Calls())
			}
			if _, err := r.Purge(t.Context(), b); err != nil {
				t.Errorf("repeating the batch: %v", err)
			}
			if n := len(r.double.Applied()); n != want.effects+1 {
				t.Errorf("%d effects after the repeat: want %d", n, want.effects+1)
			}
		})
	}
}

// server runs a fake on loopback until the test ends.
type server struct{ *httptest.Server }

func newServer(t *testing.T, h http.Handler) *server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(t.Output(), "fake: ", 0)
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return &server{s}
}

// overHTTP2 shows that the CA of the client that was given is used, and that a stream which is
// cut over HTTP/2 counts like a connection that is reset.
func overHTTP2(t *testing.T, s Setup) {
	d := s.NewDouble()
	var proto string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			proto = r.Proto
			d.ServeHTTP(w, r)
		}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(t.Output(), "fake: ", 0)
	srv.StartTLS()
	defer srv.Close()
	p, err := s.NewProvider(Options{Name: name, RootURL: srv.URL, Token: secret.New(Canary),
		Client: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	b := Batch(providers.Tag, 1)
	if _, err := p.Purge(t.Context(), b); err != nil || proto != "HTTP/2.0" {
		t.Fatalf("%v over %q", err, proto)
	}
	d.Inject(providertest.ResetAfter)
	_, err = p.Purge(t.Context(), b)
	if e := problem(t, err); e.Class != providers.Transient || !e.Unknown || d.Calls() != 2 {
		t.Errorf("%v (unknown %v) after %d calls: want transient, unknown, 2", e, e.Unknown,
			d.Calls())
	}
	stranger, err := s.NewProvider(Options{Name: name, RootURL: srv.URL,
		Token: secret.New(Canary), Client: &http.Client{Transport: &http.Transport{}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stranger.Purge(t.Context(), b)
	if e := problem(t, err); e.Class != providers.Transient || e.Unknown {
		t.Errorf("%v (unknown %v): want a certificate that is not trusted, and known", e, e.Unknown)
	}
}
