package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// file appends to a file and, before that grows beyond a size, renames it and begins a new one:
// name, name.1 (the newest of the old ones), name.2 and so on.
type file struct {
	name    string
	maxSize int64  // bytes; what is written at once may exceed it
	keep    int    // how many old ones stay
	header  []byte // begins each file; with one, no file is continued that a former run began
	trailer []byte // ends each file

	f     *os.File
	size  int64
	retry retry
}

// write appends whole records. After an error none of them is in the file, as far as the system
// lets us take back what had come into it.
func (w *file) write(_ context.Context, b []byte) error {
	if !w.retry.due(time.Now()) {
		return errAway
	}
	if err := w.append(b); err != nil {
		w.retry.failed(time.Now())
		return err
	}
	w.retry.worked()
	return nil
}

func (w *file) append(b []byte) error {
	if w.f != nil && w.size > int64(len(w.header)) && w.size+int64(len(b)) > w.maxSize {
		if err := errors.Join(w.close(), w.rotate()); err != nil {
			return err
		}
	}
	if w.f == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	if _, err := w.f.Write(b); err != nil {
		// A full disk takes a part of the last record; nothing may follow that.
		if cut := w.f.Truncate(w.size); cut != nil {
			err = errors.Join(err, cut, w.f.Close())
			w.f = nil
		}
		return err
	}
	w.size += int64(len(b))
	return nil
}

// open opens the file, and makes it if there is none. It opens nothing else, such as a pipe, on
// which it might wait forever. On a full disk it moves no old file: they would all go in turn.
func (w *file) open() error {
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	info, err := os.Stat(w.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", w.name)
	case len(w.header) > 0 && info.Size() <= int64(len(w.header)):
		flags |= os.O_TRUNC // there is nothing in it
	case len(w.header) > 0 || info.Size() >= w.maxSize:
		if err := w.rotate(); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(w.name, flags, 0o640)
	if err != nil {
		return err
	}
	w.size, err = f.Seek(0, io.SeekEnd)
	if err == nil && len(w.header) > 0 {
		_, err = f.Write(w.header)
		w.size += int64(len(w.header))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f = f
	return nil
}

// rotate gives the old files the next numbers; the last one goes.
func (w *file) rotate() error {
	for i := w.keep; i > 0; i-- {
		from := w.name
		if i > 1 {
			from += "." + strconv.Itoa(i-1)
		}
		err := os.Rename(from, w.name+"."+strconv.Itoa(i))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// close ends the file.
func (w *file) close() error {
	if w.f == nil {
		return nil
	}
	var err error
	if len(w.trailer) > 0 {
		_, err = w.f.Write(w.trailer)
	}
	err = errors.Join(err, w.f.Close())
	w.f = nil
	return err
}
