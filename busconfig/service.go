package busconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// Service is what a .service file says: how to start the owner of a bus name.
type Service struct {
	// File is the path of the file.
	File string
	// Name is the well-known name that the service will own.
	Name string
	// Exec is the command line as written, see Command. systemd is not told about it, so packages write /bin/false here
	// if the service can only be started by systemd.
	Exec string
	// User is the user to run the service as. It counts on a system bus with a setuid helper only, which
	// demands it; "" if there is none.
	User string
	// SystemdService is the unit by which systemd starts the service; "" if there is none.
	SystemdService string
	// AssumedAppArmorLabel is the AppArmor label that the service will probably have, for judging whether
	// it may be started for somebody's message; "" if there is none.
	AssumedAppArmorLabel string
}

// Command takes Exec apart, see [SplitCommand].
func (s *Service) Command() ([]string, error) {
	words, err := SplitCommand(s.Exec)
	if err == nil && words[0] == "" {
		err = errors.New("there is no program in it")
	}
	if err != nil {
		return nil, &Error{
			Source: Source{File: s.File}, Element: "Exec",
			Reason: fmt.Sprintf("the command line %q is not usable: %v", s.Exec, err), Err: err,
		}
	}
	return words, nil
}

// NamedAfterName tells whether the file is called Name with ".service" behind it. It has to be for
// [FindHelperService]: on a system bus the helper is told the name only, and looks for that file, so that what is
// called otherwise can be started by systemd alone. The runtime directory of a session bus has no
// other files either.
func (s *Service) NamedAfterName() bool { return s.fileName() == s.Name+serviceSuffix }

const serviceSuffix = ".service"

func (s *Service) fileName() string { return s.File[strings.LastIndexByte(s.File, '/')+1:] }

// serviceSection is the only section of a .service file that is looked at.
const serviceSection = "D-BUS Service"

// ParseService reads a .service file. An error is an [*Error]. Sections and keys that mean nothing to a
// message bus are passed over.
func ParseService(file string) (*Service, error) {
	s, _, err := readService(file)
	return s, err
}

func readService(file string) (*Service, fs.FileInfo, error) {
	data, info, err := readFile(file, MaxServiceFileSize)
	if err != nil {
		return nil, nil, fileError(Source{File: file}, "", "the file", file, err)
	}
	s, err := parseService(file, data)
	return s, info, err
}

func parseService(file string, data []byte) (*Service, error) {
	keys, err := parseKeyFile(file, data)
	if err != nil {
		return nil, err
	}
	fail := func(line int, key, format string, args ...any) (*Service, error) {
		return nil, &Error{Source: Source{file, line}, Element: key, Reason: fmt.Sprintf(format, args...)}
	}
	if !keys.has(serviceSection) {
		return fail(0, "", "has no section [%s]; add it with the keys Name and Exec", serviceSection)
	}
	s := &Service{File: file}
	for _, k := range []struct {
		name     string
		value    *string
		required bool
	}{
		{"Name", &s.Name, true},
		{"Exec", &s.Exec, true},
		{"User", &s.User, false},
		{"SystemdService", &s.SystemdService, false},
		{"AssumedAppArmorLabel", &s.AssumedAppArmorLabel, false},
	} {
		v, ok := keys.lookup(serviceSection, k.name)
		if !ok && k.required {
			return fail(0, k.name, "is missing; add %s= to the section [%s]", k.name, serviceSection)
		}
		*k.value = v.value
		if err := wire.CheckWellKnownName(v.value); k.name == "Name" && err != nil {
			return fail(v.line, k.name, "%v", err)
		}
	}
	return s, nil
}

// ErrNoService is what the error of [FindHelperService] wraps if there is no file for the name.
var ErrNoService = errors.New("no such service")

// FindHelperService finds what the setuid helper of a system bus starts for a name: the file that is named after
// it, in the first of the directories where there is one that [LoadServices] would take, too. It has to have that
// very name in it, and a user. It trusts neither the name nor that anybody else has checked the file. The information
// is about the very file that was read, whatever is at its path by now: whose it is and who can write it is for the
// caller to judge. An error is an [*Error], or wraps [ErrNoService].
func FindHelperService(dirs []ServiceDirectory, name string) (*Service, fs.FileInfo, error) {
	if err := wire.CheckWellKnownName(name); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoService, err)
	}
	var broken error // what is wrong with the first file that cannot be used
	for _, d := range dirs {
		file := join(d.Path, name+serviceSuffix)
		s, info, err := readService(file)
		if err != nil {
			if broken == nil && !errors.Is(err, fs.ErrNotExist) {
				broken = err
			}
			continue
		}
		switch {
		case s.Name != name:
			return nil, nil, &Error{
				Source: Source{File: file}, Element: "Name",
				Reason: fmt.Sprintf("is %s, but the file is named after %s; rename it to %s", s.Name, name, s.Name+serviceSuffix),
			}
		case s.User == "":
			return nil, nil, &Error{
				Source: Source{File: file}, Element: "User",
				Reason: "is missing; a service of a system bus needs the user to run as",
			}
		}
		return s, info, nil
	}
	if broken != nil {
		return nil, nil, broken
	}
	return nil, nil, fmt.Errorf("%w: no directory has %s%s", ErrNoService, name, serviceSuffix)
}
