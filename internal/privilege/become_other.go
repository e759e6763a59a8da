//go:build !linux

package privilege

import (
	"errors"
	"fmt"
)

// Supported says that this system can do what Become does.
const Supported = false

// Become is not there on this system; its error wraps errors.ErrUnsupported.
func Become(id Identity, _ func() error) error {
	return fmt.Errorf("becoming user %s: %w", id.Name, errors.ErrUnsupported)
}
