package busconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// checkInclude judges the attributes of an <include>.
func (p *parser) checkInclude(e element) error {
	for _, a := range e.attrs {
		if _, err := p.yes(e, a.name); err != nil {
			return err
		}
	}
	return nil
}

// include reads the file that an <include> names. As in dbus-daemon, ignore_missing also passes over
// a file that exists, but includes one that does not; there is a warning then.
func (p *parser) include(e element, content string) error {
	ignore, _ := p.yes(e, "ignore_missing")
	ifEnabled, _ := p.yes(e, "if_selinux_enabled")
	relative, _ := p.yes(e, "selinux_root_relative")
	if ifEnabled && p.SELinuxRoot == "" {
		return nil
	}
	file := p.path(content)
	if relative {
		if p.SELinuxRoot == "" && ignore {
			return nil
		}
		if p.SELinuxRoot == "" {
			return p.fail(e, `selinux_root_relative is "yes", but there is no SELinux policy here; add if_selinux_enabled="yes"`)
		}
		if !strings.HasPrefix(content, "/") {
			file = join(p.SELinuxRoot, content)
		}
	}
	err := p.includeFile(e, file)
	if ignore && errors.Is(err, fs.ErrNotExist) {
		if exists(file) {
			p.warn(e, "%s is ignored because of this: %v", file, err)
		}
		return nil
	}
	return err
}

// includeDirectory reads the *.conf files of the directory that an <includedir> names. One that
// cannot be used is passed over with a warning.
func (p *parser) includeDirectory(e element, content string) error {
	dir := p.path(content)
	entries, err := os.ReadDir(dir) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fileError(p.at(e), e.String(), "the directory", dir, err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".conf") {
			continue
		}
		file := join(dir, entry.Name())
		if err := p.includeFile(e, file); err != nil {
			p.warn(e, "%s is ignored because of this: %v", file, err)
		}
	}
	p.conf.addIncludeDirectory(dir)
	return nil
}

// includeFile reads file and merges it, unless there is an error.
func (p *parser) includeFile(e element, file string) error {
	switch {
	case slices.Contains(p.including, filepath.Clean(file)):
		return p.fail(e, "%s includes itself, by way of %s; remove one of the includes", file, strings.Join(p.including, ", "))
	case len(p.including) == MaxIncludeDepth:
		return p.exceed(e, "more than %d files include each other", MaxIncludeDepth)
	case p.read.files == MaxFiles:
		return p.exceed(e, "the configuration consists of more than %d files", MaxFiles)
	}
	p.read.files++
	sub := &parser{
		Options:   p.Options,
		read:      p.read,
		file:      file,
		including: append(slices.Clone(p.including), filepath.Clean(file)),
		conf:      &Config{Limits: p.conf.Limits, AppArmor: p.conf.AppArmor, AppArmorAt: p.conf.AppArmorAt},
	}
	if err := sub.parse(p.at(e)); err != nil {
		if failed, ok := errors.AsType[*Error](err); ok && failed.Element == "" && failed.Err != nil {
			failed.Element = e.String() // the file itself could not be read
		}
		return err
	}
	p.conf.merge(sub.conf)
	p.rules = append(p.rules, sub.rules...)
	return nil
}

// readFile reads a regular file of at most limit bytes. It does not wait for anybody, whatever file is. The
// information is about the very file that was read, from before that.
func readFile(file string, limit int64) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, cause(err)
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, nil, cause(err)
	case int64(len(data)) > limit:
		return nil, nil, fmt.Errorf("it is longer than %d bytes", limit)
	}
	return data, info, nil
}

// cause takes the name of the file off an error: whoever reports it has said it already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// directoryOf returns the directory that a path is in, "." if it does not say.
func directoryOf(path string) string {
	slash := strings.LastIndexByte(strings.TrimRight(path, "/"), '/')
	if slash < 0 {
		return "."
	}
	if dir := strings.TrimRight(path[:slash], "/"); dir != "" {
		return dir
	}
	return "/"
}

// join puts a slash between a directory and a name, unless there is one. It does not clean the path: what
// an administrator wrote is recognised in messages.
func join(dir, name string) string {
	if strings.HasSuffix(dir, "/") {
		return dir + strings.TrimPrefix(name, "/")
	}
	if strings.HasPrefix(name, "/") {
		return dir + name
	}
	return dir + "/" + name
}
