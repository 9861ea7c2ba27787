package busconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
)

// Services are the services that can be started, by name. They are not changed after LoadServices.
type Services struct {
	by map[string]*Service
	// Warnings are about files that were passed over, and about services that only systemd can
	// start.
	Warnings []Warning
}

// LoadServices reads all .service files in dirs, which are in order of precedence: if several files have the same
// Name, the one in the first directory counts, and within a directory the one that is named after
// it, or else the first by name. A directory that does not exist is empty. helper is set if services are started by
// a setuid helper, see [FindHelperService]: there is a warning then about those that it will not find.
func LoadServices(dirs []ServiceDirectory, helper bool) *Services {
	s := &Services{by: map[string]*Service{}}
	files := 0
	for _, d := range dirs {
		entries, err := os.ReadDir(d.Path) // sorted by name
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				s.warn(d.Path, "", "services in it are not found: %v", cause(err))
			}
			continue
		}
		here := map[string]*Service{}
		for _, entry := range entries {
			if !strings.HasSuffix(entry.Name(), serviceSuffix) {
				continue
			}
			if files == MaxServices {
				s.warn(d.Path, "", "there are more than %d services; the others are not found", MaxServices)
				break
			}
			files++
			s.load(here, d, entry.Name(), helper)
		}
		for name, service := range here {
			if s.by[name] == nil {
				s.by[name] = service
			}
		}
	}
	return s
}

// load reads one file of the directory d, of which those in here have been read.
func (s *Services) load(here map[string]*Service, d ServiceDirectory, file string, helper bool) {
	path := join(d.Path, file)
	one, err := ParseService(path)
	if err != nil {
		w := Warning{Source: Source{File: path}, Reason: err.Error()}
		if e, ok := errors.AsType[*Error](err); ok {
			w = Warning{e.Source, e.Element, e.Reason}
		}
		w.Reason += "; the service is not found"
		s.Warnings = append(s.Warnings, w)
		return
	}
	if !one.NamedAfterName() {
		switch {
		case d.Runtime:
			s.warn(path, "Name", "the file is ignored, for in this directory it has to be called %s%s; rename it", one.Name, serviceSuffix)
			return
		case helper:
			s.warn(path, "Name", "only systemd can start the service unless the file is called %s%s; rename it", one.Name, serviceSuffix)
		}
	}
	if other := here[one.Name]; other == nil {
		here[one.Name] = one
	} else {
		if one.NamedAfterName() {
			here[one.Name] = one
		}
		s.warn(path, "Name", "%s is provided by %s too; remove one of the files", one.Name, other.File)
	}
}

func (s *Services) warn(file, element, format string, args ...any) {
	s.Warnings = append(s.Warnings, Warning{Source{File: file}, element, fmt.Sprintf(format, args...)})
}

// Lookup returns the service for a name, nil if there is none.
func (s *Services) Lookup(name string) *Service { return s.by[name] }

// Len returns how many services there are.
func (s *Services) Len() int { return len(s.by) }

// All yields the services in the order of their names.
func (s *Services) All() iter.Seq[*Service] {
	return func(yield func(*Service) bool) {
		for _, name := range slices.Sorted(maps.Keys(s.by)) {
			if !yield(s.by[name]) {
				return
			}
		}
	}
}
