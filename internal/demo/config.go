package demo

import (
	_ "embed"
	"fmt"
	"net/netip"
	"strings"
	"text/template"
)

//go:embed demo.yaml
var configTemplate string

// The environment variable and the value of the stand-ins' API token. It protects nothing:
// the stand-ins live on loopback for as long as the demo runs.
const (
	tokenEnv   = "POINTSMAN_DEMO_TOKEN"
	tokenValue = "demo-token-of-the-stand-ins"
)

// Ports are where the demo listens. Each has the flag of `pointsman demo` that changes it.
type Ports struct {
	DNS   netip.AddrPort // --dns
	Admin netip.AddrPort // --admin
	HTTP  uint16         // --http-port: the CDNs, the edge and the origin
	API   uint16         // --api-port: the CDNs' purge APIs
}

// DefaultPorts is what the README says.
func DefaultPorts() Ports {
	return Ports{
		DNS:   netip.MustParseAddrPort("127.0.0.1:5300"),
		Admin: netip.MustParseAddrPort("127.0.0.1:8053"),
		HTTP:  8080, API: 8081,
	}
}

// cdn is one stand-in: its name, its loopback address and its delay in milliseconds.
type cdn struct {
	Name, IP string
	DelayMS  int
}

func cdns() []cdn {
	return []cdn{
		{"alpha", "127.0.0.11", 12}, {"bravo", "127.0.0.12", 25}, {"charlie", "127.0.0.13", 40},
	}
}

const (
	edgeIP   = "127.0.0.14"
	originIP = "127.0.0.15"
)

// Config renders the node's configuration.
func Config(p Ports, stateDir, logLevel string) ([]byte, error) {
	t, err := template.New("demo.yaml").Parse(configTemplate)
	if err != nil {
		return nil, fmt.Errorf("parsing the demo's config: %w", err)
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"StateDir": stateDir, "LogLevel": logLevel, "DNS": p.DNS, "Admin": p.Admin,
		"HTTPPort": p.HTTP, "APIPort": p.API, "CDNs": cdns(), "EdgeIP": edgeIP,
		"OriginIP": originIP, "TokenEnv": tokenEnv,
	})
	if err != nil {
		return nil, fmt.Errorf("rendering the demo's config: %w", err)
	}
	return []byte(b.String()), nil
}
