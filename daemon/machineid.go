package daemon

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// machineIDFiles are where a machine's identity is (machine-id(5)), and where it was
// before systemd.
var machineIDFiles = []string{"/etc/machine-id", "/var/lib/dbus/machine-id"}

// readMachineID returns the 32 hexadecimal digits in the first of files that exists.
func readMachineID(files []string) (string, error) {
	for _, name := range files {
		content, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		id := strings.TrimSuffix(string(content), "\n")
		if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 {
			return "", fmt.Errorf("%s does not hold 32 hexadecimal digits", name)
		}
		return strings.ToLower(id), nil
	}
	return "", fmt.Errorf("there is no %s", strings.Join(files, " and no "))
}
