package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

// maxDocument is the largest document that the node takes, in bytes.
const maxDocument = 1 << 20

func newFeed() *cobra.Command {
	c := &cobra.Command{
		Use: "feed", Short: "Say what backends' metadata are, in place of the config",
		Long: "Say what backends' metadata are, in place of the config: up, drain, weight (in percent of\n" +
			"the configured ones), capacity, cost and measured load. Which feeds there are, and of what\n" +
			"they may speak, stands in the config under feeds.",
		Example: "  pointsman feed list\n  pointsman feed set noc fastly --weight 50",
	}
	asGroup(c)
	c.AddCommand(newFeedSet(), newFeedList(), newFeedClear())
	return c
}

// feedValues are the flags of feed set, as they were given.
type feedValues struct {
	clientFlags
	file                                     string
	up, drain, weight, capacity, cost, rates string
}

func newFeedSet() *cobra.Command {
	f := &feedValues{}
	c := &cobra.Command{
		Use: "set FEED [BACKEND]", Short: "Push values to a feed",
		Long: "Push values to a feed that is not pulled: of one BACKEND by flags, or a document by --file.\n\n" +
			"They hold for the feed's keep, so say them again before that. The word none takes a value\n" +
			"back, so that the config counts.",
		Example: "  pointsman feed set noc fastly --weight 50 --capacity 4000\n" +
			"  pointsman feed set noc --file metadata.json",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := f.document(cmd.InOrStdin(), args[1:])
			if err != nil {
				return err
			}
			out, err := ask(cmd.Context(), &f.clientFlags,
				func(ctx context.Context, c *api.Client) (api.FeedOutcome, error) {
					return c.PushFeed(ctx, args[0], doc)
				})
			if err != nil {
				return err
			}
			return writeOutcome(cmd.OutOrStdout(), out, f.json, "taken")
		},
	}
	f.bind(c)
	fl := c.Flags()
	fl.StringVar(&f.file, "file", "", "JSON `FILE` with a whole document; - is standard input")
	fl.StringVar(&f.up, "up", "", "`true` or false; false takes the backend out")
	fl.StringVar(&f.drain, "drain", "", "`true` or false")
	fl.StringVar(&f.weight, "weight", "", "`PERCENT` of the configured weights")
	fl.StringVar(&f.capacity, "capacity", "", "`REQUESTS` a second that it can take")
	fl.StringVar(&f.cost, "cost", "", "`COST` of a GB")
	fl.StringVar(&f.rates, "load", "", "measured `REQUESTS` a second")
	return c
}

// document makes the document that the flags ask for, or reads it.
func (f *feedValues) document(in io.Reader, backend []string) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	for name, value := range map[string]string{"up": f.up, "drain": f.drain, "weight": f.weight,
		"capacity": f.capacity, "cost": f.cost, "load": f.rates} {
		switch {
		case value == "":
			continue
		case value == "none":
			value = "null"
		}
		if !json.Valid([]byte(value)) {
			return nil, usagef("--%s %q: want a number, true, false or none", name, value)
		}
		fields[name] = json.RawMessage(value)
	}
	switch {
	case f.file != "" && (len(fields) > 0 || len(backend) > 0):
		return nil, usagef("--file holds a whole document: give no BACKEND and no values beside it")
	case f.file != "":
		return readDocument(in, f.file)
	case len(backend) == 0:
		return nil, usagef("which backend? Give BACKEND with values, or --file")
	case len(fields) == 0:
		return nil, usagef("what of %s? Give --up, --drain, --weight, --capacity, --cost or --load",
			strconv.Quote(backend[0]))
	}
	return json.Marshal(map[string]any{"backends": map[string]any{backend[0]: fields}})
}

func readDocument(in io.Reader, name string) (json.RawMessage, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, usagef("--file: %w", err)
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxDocument+1))
	switch {
	case err != nil:
		return nil, usagef("--file: %w", err)
	case len(data) > maxDocument:
		return nil, usagef("--file %s: it is larger than 1 MiB", name)
	case !json.Valid(data):
		return nil, usagef("--file %s: it is not JSON", name)
	}
	return data, nil
}

// writeOutcome prints what became of a push or a clearing. A part that was refused is an error.
func writeOutcome(w io.Writer, o api.FeedOutcome, asJSON bool, done string) error {
	if asJSON {
		if err := printJSON(w, o); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(w, "values %s: %d\n", done, o.Taken)
		switch {
		case o.Unsaved:
			fmt.Fprintln(w, "no store can be written: a restart of the node would forget them")
		case o.Local:
			fmt.Fprintln(w, "the shared store is out of reach: known to this node only, until it returns")
		}
		for _, r := range o.Refused {
			fmt.Fprintf(w, "refused: %s: %s\n", clean(r.Path), clean(r.Detail))
		}
	}
	if len(o.Refused) > 0 {
		return exitError{code: exitPartly, err: errors.New("parts were refused; what was said of them stays")}
	}
	return nil
}

func newFeedList() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "list", Short: "List the feeds and what they say", Args: takes(),
		Example: "  pointsman feed list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tell(cmd, f, func(ctx context.Context, c *api.Client) ([]api.Feed, error) {
				return c.Feeds(ctx)
			}, func(list []api.Feed) error {
				return writeFeeds(cmd.OutOrStdout(), time.Now(), list)
			})
		},
	}
	f.bind(c)
	return c
}

func writeFeeds(w io.Writer, now time.Time, list []api.Feed) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "the config has no feeds")
		return err
	}
	for _, feed := range list {
		from, heard := "pushed", "never heard"
		if feed.From != "" {
			from = "pulled from " + feed.From
		}
		if feed.Heard != nil {
			heard = "heard " + ago(now, *feed.Heard)
		}
		fmt.Fprintf(w, "%s, %s, %s\n", clean(feed.Name), clean(from), heard)
		if feed.Error != "" {
			fmt.Fprintf(w, "warning: %s\n", clean(feed.Error))
		}
		t := table(w, "BACKEND FIELD IN-FORCE SAID AGE ENDS STATE")
		for _, v := range feed.Values {
			field, ends := v.Field, "in "+span(v.Until.Sub(now))
			if v.Host != "" {
				field += " " + v.Host
			}
			if !now.Before(v.Until) {
				ends = "ended"
			}
			t.add(v.Backend, field, v.InForce, v.Latest, age(now, v.At), ends, v.State)
		}
		if err := t.flush("it says nothing"); err != nil {
			return err
		}
	}
	return nil
}

func newFeedClear() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "clear FEED [BACKEND]", Short: "Forget what a feed said, so that the config counts",
		Long: "Forget what a feed said, of one BACKEND or of all, so that the config counts at once and\n" +
			"until the feed says something again. One that is pulled will: take it out of the config.",
		Example: "  pointsman feed clear noc fastly",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			backend := ""
			if len(args) == 2 {
				backend = args[1]
			}
			out, err := ask(cmd.Context(), f,
				func(ctx context.Context, c *api.Client) (api.FeedOutcome, error) {
					return c.ClearFeed(ctx, args[0], backend)
				})
			if err != nil {
				return err
			}
			return writeOutcome(cmd.OutOrStdout(), out, f.json, "forgotten")
		},
	}
	f.bind(c)
	return c
}
