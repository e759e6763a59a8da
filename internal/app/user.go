package app

import (
	"fmt"

	"pointsman/internal/config"
	"pointsman/internal/privilege"
)

// rootWarning is for a node that root starts and that would stay root.
const rootWarning = "started by root, the node stays root: name a user here, and it keeps " +
	"nothing but the right to bind ports below 1024 (or start it as a user, as deploy/systemd does)"

// BecomeUser gives up root's rights when root started the process and the config names a user:
// then it does not return, the process begins anew as that user. It returns nil when there is
// nothing to give up or nobody to become; an error means that the process must end. Call it
// before anything else of the node is there, New above all.
func BecomeUser(o Options) error {
	if !o.Root {
		return nil
	}
	c, report, err := o.load()
	if err != nil || c.User == "" {
		return err
	}
	id, bad := identity(c)
	if bad != nil {
		return fmt.Errorf("%w: %w", ErrConfig, located(report, []pathMistake{*bad}))
	}
	return privilege.Become(id, func() error {
		if o.Path != "" {
			if err := id.Readable(o.Path); err != nil {
				return fmt.Errorf("reading the config again: %w", err)
			}
		}
		if err := id.Writable(c.StateDir); err != nil {
			return fmt.Errorf("opening state_dir: %w", err)
		}
		return nil
	})
}

// identity is the config's user and group on this machine.
func identity(c *config.Config) (privilege.Identity, *pathMistake) {
	var id privilege.Identity
	err := error(nil)
	if privilege.Supported {
		id, err = privilege.Lookup(c.User, c.Group)
	} else {
		err = fmt.Errorf("this works on Linux alone: leave it out, and start the node as the user")
	}
	if err != nil {
		bad := complaint("user", err.Error())
		return id, &bad
	}
	return id, nil
}

// checkUser looks at the user as a start would. Only a start by root would care, except where
// the key can never work.
func (o Options) checkUser(c *config.Config, report *config.Report) (
	notes []config.Finding, err error,
) {
	switch {
	case c.User == "" && o.Root:
		return []config.Finding{report.Source.Finding("user", rootWarning)}, nil
	case c.User == "", privilege.Supported && !o.Root:
		return nil, nil
	}
	if _, bad := identity(c); bad != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, located(report, []pathMistake{*bad}))
	}
	return nil, nil
}
