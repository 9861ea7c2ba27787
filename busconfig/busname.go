package busconfig

import (
	"fmt"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// BusName is what a .busname file says: the unit by which systemd, when it supported kdbus (systemd.busname(5) of
// versions 209 to 231), had a bus name that starts a service, and that is protected by a policy.
type BusName struct {
	// File is the path of the file.
	File string
	// Name is the well-known name; by default what the file is called, without ".busname".
	Name string
	// Activating: messages to the name start Service. Otherwise the file is about the policy only.
	Activating bool
	// Service is the unit to be started; by default it is called like the file.
	Service string
	// AcceptFileDescriptors: messages that wait for the service may have file descriptors.
	AcceptFileDescriptors bool
	// Access is the policy of the name. Without any, the name is not protected.
	Access []NameAccess
}

// NameAccess permits something with a name to somebody.
type NameAccess struct {
	Kind  NameAccessKind
	ID    uint32 // the user or group
	Level NameAccessLevel
}

// NameAccessKind says whom a NameAccess is for.
type NameAccessKind uint8

// Whom a NameAccess is for.
const (
	AllowUser NameAccessKind = iota + 1
	AllowGroup
	AllowWorld
)

// NameAccessLevel is what a NameAccess permits. Each includes those before it.
type NameAccessLevel uint8

// What a NameAccess permits.
const (
	SeeName NameAccessLevel = iota + 1
	TalkToName
	OwnName
)

const (
	busNameSuffix  = ".busname"
	unitSuffix     = ".service"
	busNameSection = "BusName"
)

// ParseBusName reads a .busname file alone, without what drop-ins add to it. Users tells the numbers of the users
// and groups in it. An error is an [*Error], with the line. Sections and keys that mean nothing here are passed over.
func ParseBusName(file string, users Users) (*BusName, error) {
	data, _, err := readFile(file, MaxServiceFileSize)
	if err != nil {
		return nil, fileError(Source{File: file}, "", "the file", file, err)
	}
	b := newBusName(file)
	if err := b.read(file, data, users); err != nil {
		return nil, err
	}
	return b, b.check()
}

// newBusName returns what a file says that says nothing.
func newBusName(file string) *BusName {
	name := strings.TrimSuffix(file[strings.LastIndexByte(file, '/')+1:], busNameSuffix)
	return &BusName{File: file, Name: name, Activating: true, Service: name + unitSuffix, AcceptFileDescriptors: true}
}

// allowPrefix is what the keys of the policy begin with.
const allowPrefix = "Allow"

// read adds what a file, or a drop-in, says. If nothing but the policy is wrong, everything else is known with the error.
func (b *BusName) read(file string, data []byte, users Users) error {
	var policy error
	err := eachUnitSetting(file, data, func(s unitSetting) error {
		if s.section != busNameSection {
			return nil
		}
		err := b.set(s, users)
		if err == nil {
			return nil
		}
		err = &Error{Source: Source{file, s.line}, Element: s.key, Reason: err.Error()}
		if !strings.HasPrefix(s.key, allowPrefix) {
			return err
		}
		if policy == nil {
			policy = err
		}
		return nil
	})
	if err == nil {
		err = policy
	}
	return err
}

func (b *BusName) set(s unitSetting, users Users) (err error) {
	switch s.key {
	case "Name":
		b.Name = s.value
		if err = wire.CheckWellKnownName(s.value); err != nil {
			err = fmt.Errorf("is no name: %w", err)
		}
	case "Service":
		b.Service = s.value
		err = checkServiceUnit(s.value)
	case "Activating":
		b.Activating, err = unitBool(s.value)
	case "AcceptFileDescriptors":
		b.AcceptFileDescriptors, err = unitBool(s.value)
	case "AllowUser":
		err = b.allow(AllowUser, s.value, "user", users.User)
	case "AllowGroup":
		err = b.allow(AllowGroup, s.value, "group", users.Group)
	case "AllowWorld":
		var level NameAccessLevel
		if level, err = nameAccessLevel(s.value); err == nil {
			b.Access = append(b.Access, NameAccess{Kind: AllowWorld, Level: level})
		}
	}
	return err
}

// allow reads a value of the form "NAME LEVEL".
func (b *BusName) allow(kind NameAccessKind, value, what string, find func(string) (uint32, error)) error {
	words := strings.Fields(value)
	if len(words) != 2 {
		return fmt.Errorf("is %.80q; write a %s, a space, and one of see, talk and own", value, what)
	}
	level, err := nameAccessLevel(words[1])
	if err != nil {
		return err
	}
	id, ok := lookupID(words[0], find)
	if !ok {
		return fmt.Errorf("there is no %s %.80q on this machine", what, words[0])
	}
	b.Access = append(b.Access, NameAccess{Kind: kind, ID: id, Level: level})
	return nil
}

func nameAccessLevel(s string) (NameAccessLevel, error) {
	switch s {
	case "see":
		return SeeName, nil
	case "talk":
		return TalkToName, nil
	case "own":
		return OwnName, nil
	}
	return 0, fmt.Errorf("%.80q is not one of see, talk and own", s)
}

// maxUnitName is the length of the name of a unit, systemd.unit(5).
const maxUnitName = 255

func checkServiceUnit(s string) error {
	const others = ":-_.\\@"
	strange := strings.IndexFunc(s, func(r rune) bool {
		return r >= 0x80 || !isKeyByte(byte(r)) && !strings.ContainsRune(others, r)
	})
	if !strings.HasSuffix(s, unitSuffix) || len(s) == len(unitSuffix) || len(s) > maxUnitName || strange >= 0 {
		return fmt.Errorf("%.80q is not the name of a unit that ends in %s", s, unitSuffix)
	}
	return nil
}

// check judges what the file says together with what its name does.
func (b *BusName) check() error {
	if err := wire.CheckWellKnownName(b.Name); err != nil {
		return &Error{Source: Source{File: b.File}, Element: "Name", Reason: fmt.Sprintf("is missing, and what the file is called is no name: %v", err)}
	}
	return nil
}

// unitBool reads a boolean of a unit.
func unitBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true, nil
	case "0", "no", "n", "false", "f", "off":
		return false, nil
	}
	return false, fmt.Errorf("%.80q is neither yes nor no", s)
}
