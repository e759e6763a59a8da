package suite

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"pointsman/providers"
	"pointsman/providers/providertest"
)

func cancelled(t *testing.T, s Setup) {
	r := newRig(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Purge(ctx, Batch(providers.Tag, 1))
	if e := problem(t, err); e.Class != providers.Transient || e.Unknown {
		t.Errorf("%v (unknown %v): want %s and known", e, e.Unknown, providers.Transient)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v: is not context.Canceled", err)
	}
	if r.double.Calls() != 0 {
		t.Errorf("%d calls", r.double.Calls())
	}
}

func unreachable(t *testing.T, s Setup) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	root := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, s)
	o := r.options
	o.RootURL = root
	_, err = r.build(t, o).Purge(t.Context(), Batch(providers.Tag, 1))
	e := problem(t, err)
	if e.Class != providers.Transient || e.Unknown || e.Status != 0 {
		t.Errorf("%v (unknown %v): want %s and known", e, e.Unknown, providers.Transient)
	}
}

func deadlines(t *testing.T, s Setup) {
	for _, f := range []providertest.Fault{
		providertest.HangBefore, providertest.HangAfter, providertest.Drip,
	} {
		t.Run(string(f), func(t *testing.T) {
			r := newRig(t, s)
			r.double.Inject(f)
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := r.Purge(ctx, Batch(providers.Tag, 1))
			e := problem(t, err)
			if e.Class != providers.Transient || !e.Unknown {
				t.Errorf("%v (unknown %v): want %s and unknown", e, e.Unknown, providers.Transient)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: is not context.DeadlineExceeded", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v after a deadline of 150ms", took)
			}
		})
	}
}
