package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is a command line that makes no sense. It leads to the help and to exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef makes a usageError.
func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// takes accepts exactly these arguments, which the words name.
func takes(words ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(words):
			return fmt.Errorf("%s needs %s", named(cmd), strings.Join(words[len(args):], " and "))
		case len(args) > len(words) && len(words) == 0:
			return fmt.Errorf("%s takes no arguments, not %q", named(cmd), args[0])
		case len(args) > len(words):
			return fmt.Errorf("%s takes %s alone, not %q too", named(cmd),
				strings.Join(words, " and "), args[len(words)])
		}
		return nil
	}
}

// asGroup makes a command that holds others show its help when it is called alone, and refuse
// what is none of them. A group that is a command too has a RunE already and keeps it.
func asGroup(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknown(cmd, args[0])
	}
	if c.RunE == nil {
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

// unknown says that a group has no such command, and which was probably meant.
func unknown(group *cobra.Command, name string) error {
	what := fmt.Errorf("%s has no command %q", named(group), name)
	if !group.HasParent() {
		what = fmt.Errorf("there is no command %q", name)
	}
	if near := group.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("%w; did you mean %s?", what, strings.Join(near, " or "))
	}
	return what
}

// named is a command as errors name it: without the program's name, which begins them all.
func named(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), "pointsman ")
}

// newHelp is cobra's help command, but one that fails for what there is no help about.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show the help of a command", GroupID: "more",
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			switch {
			case err != nil:
				return usageError{err}
			case len(rest) > 0:
				return usageError{unknown(about, rest[0])}
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// notUnderstood words cobra's complaints about a command line for people.
func notUnderstood(cmd *cobra.Command, err error) error {
	var u usageError
	if errors.As(err, &u) {
		return err
	}
	if strings.HasPrefix(err.Error(), "required flag") {
		err = missing(cmd, err)
	}
	return usageError{err}
}

// missing names the required flags that were not given, each with what it is for.
func missing(cmd *cobra.Command, err error) error {
	var names []string
	for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(err.Error(), -1) {
		f := cmd.Flags().Lookup(m[1])
		if f == nil {
			return err
		}
		name := "--" + f.Name
		if _, rest, ok := strings.Cut(f.Usage, "`"); ok { // the help's way to name the value
			value, _, _ := strings.Cut(rest, "`")
			name += " " + value
		}
		names = append(names, name)
	}
	return fmt.Errorf("%s needs %s", named(cmd), strings.Join(names, " and "))
}

// badFlag words pflag's complaints: which flag, what it was given, what it takes.
func badFlag(cmd *cobra.Command, err error) error {
	var bad interface{ GetValue() string }
	if !errors.As(err, &bad) {
		return usageError{err}
	}
	m := regexp.MustCompile(`"(?:-., )?--([^"]+)" flag: `).FindStringSubmatch(err.Error())
	if m == nil || cmd.Flags().Lookup(m[1]) == nil {
		return usageError{err}
	}
	want := map[string]string{
		"duration": "a duration such as 90s, 20m or 2h", "uint16": "a number from 0 to 65535",
		"int": "a whole number", "float64": "a number", "bool": "true or false",
	}[cmd.Flags().Lookup(m[1]).Value.Type()]
	if want == "" {
		return usageError{err}
	}
	return usagef("--%s %q: want %s", m[1], bad.GetValue(), want)
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
