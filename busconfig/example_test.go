package busconfig_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/wire"
)

// Ask whether a user may call a method of a service, and why not.
func Example() {
	dir, err := os.MkdirTemp("", "busconfig")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "system.conf")
	os.WriteFile(file, []byte(`<busconfig>
  <listen>unix:path=/run/example</listen>
  <policy context="default">
    <allow user="*"/>
    <allow send_destination="org.example.Clock"/>
    <deny send_destination="org.example.Clock" send_member="Set" send_interface="org.example.Clock"/>
  </policy>
</busconfig>`), 0o600)

	config, err := busconfig.Parse(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	view := config.Policy.For(33, []uint32{33}, false)
	for _, member := range []string{"Get", "Set"} {
		verdict := view.MaySend(&busconfig.Message{
			Type: wire.TypeMethodCall, Path: "/", Interface: "org.example.Clock", Member: member,
			Destination: busconfig.NewNames(":1.7", "org.example.Clock"),
		})
		fmt.Println(member, verdict.Allowed, "line", verdict.Rule.Line, verdict.Rule)
	}
	// Output:
	// Get true line 5 <allow send_destination="org.example.Clock"/>
	// Set false line 6 <deny send_destination="org.example.Clock" send_member="Set" send_interface="org.example.Clock"/>
}
