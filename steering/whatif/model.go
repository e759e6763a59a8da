package whatif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
)

// Model is resolvers that nobody recorded: their queries fall off by Zipf's law.
type Model struct {
	Resolvers int     // 1 to 1,000,000
	Exponent  float64 // 0 (all alike) to 3
}

const (
	mostResolvers = 1_000_000
	mostExponent  = 3
	// tries is how many addresses are thrown for a resolver until one is in a country.
	tries = 1000
)

// ParseModel reads "zipf:2000:1.1": a number of resolvers, and the exponent.
func ParseModel(text string) (m Model, err error) {
	parts := strings.Split(text, ":")
	if len(parts) == 3 && parts[0] == "zipf" {
		var bad error
		m.Resolvers, err = strconv.Atoi(parts[1])
		m.Exponent, bad = strconv.ParseFloat(parts[2], 64)
		err = errors.Join(err, bad)
	}
	if err != nil || m.Resolvers < 1 || m.Resolvers > mostResolvers ||
		!(m.Exponent >= 0 && m.Exponent <= mostExponent) {
		return Model{}, fmt.Errorf("model %q: want zipf:RESOLVERS:EXPONENT, such as zipf:2000:1.1, "+
			"of 1 to %d resolvers and an exponent of 0 to %d", text, mostResolvers, mostExponent)
	}
	return m, nil
}

// Clients throws the model's resolvers: a country has as many of them as it has addresses, in
// networks of their own. The weights add up to the number of resolvers. Equal seeds throw alike.
// Country tells the country of an address, or nothing; nil: no country is known.
func (m Model) Clients(seed uint64, country func(netip.Addr) string) []Client {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]Client, m.Resolvers)
	sum := 0.0
	for i := range out {
		addr, at := throw(r, country)
		out[i] = Client{Prefix: netip.PrefixFrom(addr, 32), Country: at,
			Weight: math.Pow(float64(i+1), -m.Exponent)}
		sum += out[i].Weight
	}
	for i := range out {
		out[i].Weight *= float64(m.Resolvers) / sum
	}
	return out
}

// throw returns a random address, and in which country it is.
func throw(r *rand.Rand, country func(netip.Addr) string) (addr netip.Addr, at string) {
	for range tries {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], r.Uint32())
		addr = netip.AddrFrom4(b)
		if country == nil {
			return addr, ""
		}
		if at = country(addr); at != "" {
			break
		}
	}
	return addr, at
}
