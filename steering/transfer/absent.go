package transfer

import (
	"errors"
	"io/fs"
	"time"
)

// remindEvery is the least time between two lines that say that a zone has no copy.
const remindEvery = 10 * time.Minute

// absent reports whether a zone is answered without content.
func (s *Secondary) absent(zone string) bool {
	if s.cfg.Absent != nil {
		return s.cfg.Absent(zone)
	}
	return s.Current(zone) == nil
}

// remind says that nobody can resolve a zone's names: at once, and again for as long as it lasts.
func (s *Secondary) remind(zone string, at schedule, now time.Time, err error) schedule {
	if at.told.IsZero() || now.Sub(at.told) >= remindEvery {
		s.cfg.Logger.Warn("zone has no copy yet, it answers SERVFAIL except for steered names",
			"zone", zone, "err", err)
		at.told = now
	}
	return at
}

// refuse says that what came can't be taken, and what that leaves.
func (s *Secondary) refuse(got *Copy, err error) {
	message := "fetched zone refused, the old one serves on"
	if s.absent(got.Zone) {
		message = "fetched zone refused, there is no older one: it answers SERVFAIL except for " +
			"steered names"
	}
	s.cfg.Logger.Error(message, "zone", got.Zone, "serial", got.Serial, "err", err)
}

// unread says once that a zone's copy on disk can't be used.
func (s *Secondary) unread(zone string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	s.mu.Lock()
	known := s.damaged[zone]
	s.damaged[zone] = true
	s.mu.Unlock()
	if !known {
		s.cfg.Logger.Error("copy of a zone not read, it is fetched anew; until then it answers "+
			"SERVFAIL except for steered names", "zone", zone, "err", err)
	}
}
