package policy

import (
	"fmt"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// A rule, in the form [METHOD][@PATH], restricts messages. METHOD is "*" or nothing for every
// message, INTERFACE.* for those of an interface, and INTERFACE.MEMBER for a single one. PATH is an
// object, or with "/*" behind it an object and all below. For calls METHOD is of the method that is
// called or the signal that is sent to the name, for broadcasts of the signal.

// matchRule returns a rule as the text of a D-Bus match rule; "" matches every message. What could
// never match is an error, where xdg-dbus-proxy takes it in silence.
func matchRule(rule string) (string, error) {
	method, path, hasPath := strings.Cut(rule, "@")
	var conditions []string
	if method != "" && method != "*" {
		i := strings.LastIndexByte(method, '.')
		if i < 0 {
			return "", fmt.Errorf("%q is no METHOD: it is \"*\", INTERFACE.* or INTERFACE.MEMBER", method)
		}
		name, member := method[:i], method[i+1:]
		if err := wire.CheckInterface(name); err != nil {
			return "", err
		}
		conditions = append(conditions, "interface='"+name+"'")
		if member != "*" {
			if err := wire.CheckMember(member); err != nil {
				return "", err
			}
			conditions = append(conditions, "member='"+member+"'")
		}
	}
	if hasPath && path != "" {
		key := "path"
		if above, ok := strings.CutSuffix(path, "/*"); ok {
			key, path = "path_namespace", above
			if path == "" {
				path = "/"
			}
		}
		if err := wire.CheckObjectPath(path); err != nil {
			return "", err
		}
		if key == "path" || path != "/" {
			conditions = append(conditions, key+"='"+path+"'")
		}
	}
	return strings.Join(conditions, ","), nil
}
