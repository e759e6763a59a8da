package purge_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/providers"
	"pointsman/purge"
)

// lines is a log that may be read while it grows.
type lines struct {
	mu  sync.Mutex // guards the rest
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// of returns how many lines of a level have a message.
func (l *lines) of(level, message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), fmt.Sprintf("level=%s msg=%q", level, message))
}

// loud returns how many lines are above debug and info.
func (l *lines) loud() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), "level=WARN") + strings.Count(l.all.String(), "level=ERROR")
}

func TestADiskThatIsGoneForLongIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		c := newCDN("a")
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return no(providers.Throttled, time.Minute)
		}
		n := start(t, purge.Config{Logger: slog.New(slog.NewTextHandler(log, nil))}, c)
		synctest.Wait() // it has read the journal
		for range 50 {
			submit(t, n.Service, tags("x"))
		}
		n.local.setFault(away)
		time.Sleep(10 * time.Minute)
		synctest.Wait() // the tick of this moment sees the fault, too
		if log.loud() != 1 || log.of("ERROR", "purge journal write failed") != 1 {
			t.Errorf("the log says\n%.2000s", log.all.String())
		}
		n.local.setFault(nil)
		time.Sleep(time.Minute)
		if log.of("INFO", "purge journal written again") != 1 {
			t.Errorf("the log says\n%.2000s", log.all.String())
		}
	})
}

func TestAProviderThatIsGoneForLongIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		c := newCDN("a")
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return no(providers.Transient, 0)
		}
		n := start(t, purge.Config{Logger: slog.New(slog.NewTextHandler(log, nil))}, c)
		for range 50 {
			submit(t, n.Service, tags("x"))
		}
		time.Sleep(time.Hour)
		if log.loud() != 1 || log.of("WARN", "provider stopped taking purges") != 1 {
			t.Errorf("the log says\n%.2000s", log.all.String())
		}
		c.mend()
		time.Sleep(time.Hour)
		if log.of("INFO", "provider took purges again") != 1 {
			t.Errorf("the log says\n%.2000s", log.all.String())
		}
	})
}
