package config

import (
	"net"
	"os"
	"path/filepath"
	"strings"
)

// dnsAddresses refuses names to listen on, whose sockets would be of one family or of two.
func (c *checker) dnsAddresses() {
	refuse := func(path string, listen []string) {
		for i, address := range listen {
			if host, _, err := net.SplitHostPort(address); err == nil && host == "localhost" {
				c.mistake(element(path, i), "%s begins with a name: say 127.0.0.1 or [::1]",
					shown(address))
			}
		}
	}
	refuse("dns.listen", c.cfg.DNS.Listen)
	if t := c.cfg.DNS.TLS; t != nil {
		refuse("dns.tls.listen", t.Listen)
	}
}

// written finds files that can't be what answers are written to. Their names are absolute.
func (l *loader) written(d *DNS) {
	log := ""
	if d.DecisionLog != nil && d.DecisionLog.File != "" {
		log = filepath.Clean(d.DecisionLog.File)
		l.notFolder("dns.decision_log.file", log)
	}
	if d.Dnstap == nil {
		return
	}
	kind, to, _ := strings.Cut(d.Dnstap.To, ":")
	if kind != "file" {
		return
	}
	to = filepath.Clean(to)
	l.notFolder("dns.dnstap.to", to)
	if to == log {
		l.mistake("dns.dnstap.to", complain("%s is the file of dns.decision_log already", shown(to)))
	}
}

func (l *loader) notFolder(path, file string) {
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		l.mistake(path, complain("%s is a directory: name a file in it", shown(file)))
	}
}
