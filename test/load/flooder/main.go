// Command flooder floods a nameserver on loopback, as test/load/flood has it do, and prints what
// became of the flood and of a well-behaved client beside it.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"time"

	"pointsman/test/load/attack"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "flooder:", err)
		os.Exit(1)
	}
}

func run() error {
	server := flag.String("server", "127.0.0.1:5300", "`IP:PORT` of the nameserver, on loopback")
	pid := flag.Int("pid", 0, "its process, whose memory is told")
	seconds := flag.Int("seconds", 60, "how long each flood lasts")
	rate := flag.Int("rate", 200, "how many queries a second the well-behaved client asks")
	zone := flag.String("zone", "example.test", "a zone of the server's with h0 to h99 and cdn")
	flag.Parse()
	to, err := netip.ParseAddrPort(*server)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	names := []string{"cdn." + *zone + "."}
	for i := range 100 {
		names = append(names, fmt.Sprintf("h%d.%s.", i, *zone))
	}
	fmt.Printf("%-10s %10s %8s | %8s %9s %6s %10s | %s\n", "flood", "packets/s", "out/in",
		"queries", "first try", "wrong", "slowest", "memory before, after")
	for i, kind := range attack.Kinds() {
		before := memory(*pid)
		r, err := attack.Run(ctx, attack.Config{Server: to, Kind: kind, Zone: *zone + ".", Names: names,
			For: time.Duration(*seconds) * time.Second, Rate: *rate, Seed: uint64(i)})
		if err != nil {
			return err
		}
		fmt.Printf("%-10s %10d %8.2f | %8d %8.2f%% %6d %10v | %s, %s\n", kind,
			r.Sent/uint64(*seconds), r.Amplification(), r.Asked, 100*r.FirstTry(), r.Wrong,
			r.Slowest.Round(10*time.Microsecond), before, memory(*pid))
	}
	return nil
}

// memory is what Linux says of a process's memory.
func memory(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "unknown"
	}
	for _, line := range strings.Split(string(raw), "\n") {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "gone"
}
