package tap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// contentType says what a Frame Stream holds.
const contentType = "protobuf:dnstap.Dnstap"

// Control frames of Frame Streams (fstrm, "control.h"): an escape of four zero octets where a
// data frame has its length, the length of the rest, the type, and fields.
const (
	controlAccept = 1
	controlStart  = 2
	controlStop   = 3
	controlReady  = 4
	controlFinish = 5

	fieldContentType = 1
	maxControl       = 512
)

// control builds a control frame, with the content type where one belongs.
func control(kind uint32) []byte {
	body := binary.BigEndian.AppendUint32(nil, kind)
	if kind != controlStop && kind != controlFinish {
		body = binary.BigEndian.AppendUint32(body, fieldContentType)
		body = binary.BigEndian.AppendUint32(body, uint32(len(contentType)))
		body = append(body, contentType...)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 4, 8+len(body)), uint32(len(body)))
	return append(b, body...)
}

// expectControl reads a control frame of one kind. An ACCEPT must offer our content type; one that
// names none takes any.
func expectControl(r io.Reader, kind uint32) error {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("reading a control frame: %w", err)
	}
	size := binary.BigEndian.Uint32(head[4:])
	if binary.BigEndian.Uint32(head[:]) != 0 || size < 4 || size > maxControl {
		return errors.New("reading a control frame: the peer does not speak Frame Streams")
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("reading a control frame: %w", err)
	}
	if got := binary.BigEndian.Uint32(body); got != kind {
		return fmt.Errorf("control frame of type %d where %d belongs", got, kind)
	}
	if kind != controlAccept {
		return nil
	}
	return accepts(body[4:])
}

// accepts reads the fields of an ACCEPT.
func accepts(fields []byte) error {
	named := false
	for len(fields) > 0 {
		if len(fields) < 8 {
			return errors.New("control frame with a field that is cut")
		}
		kind, n := binary.BigEndian.Uint32(fields), binary.BigEndian.Uint32(fields[4:])
		fields = fields[8:]
		if uint64(n) > uint64(len(fields)) {
			return errors.New("control frame with a field that is cut")
		}
		if kind == fieldContentType {
			named = true
			if bytes.Equal(fields[:n], []byte(contentType)) {
				return nil
			}
		}
		fields = fields[n:]
	}
	if named {
		return errors.New("the peer does not take " + contentType)
	}
	return nil
}
