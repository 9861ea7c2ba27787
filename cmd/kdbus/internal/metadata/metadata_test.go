package metadata

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
)

// seedClient is the client of the transcript that kdbus once printed.
func seedClient() *Peer {
	const bounding = 1<<38 - 1
	return &Peer{Unique: ":1.98385", NamesKnown: true, Metadata: abi.Metadata{
		Has:       abi.AttachAll &^ (abi.AttachTimestamp | abi.AttachSecLabel | abi.AttachAudit | abi.AttachNames),
		Creds:     abi.Creds{UID: 1000, EUID: 1000, SUID: 1000, FSUID: 1000, GID: 1000, EGID: 1000, SGID: 1000, FSGID: 1000},
		PIDs:      abi.PIDs{PID: 21611, TID: 21611, PPID: 8014},
		AuxGroups: []uint64{91, 190, 1000},
		TIDComm:   "localectl", PIDComm: "localectl", Exe: "/usr/bin/localectl", Cmdline: []string{"localectl"},
		CGroup: "/user.slice/user-1000.slice/session-c1.scope", Description: "sd-system-localectl",
		Caps: abi.Caps{LastCap: 37, Bounding: bounding},
	}}
}

// seedLines are the lines of that transcript.
const seedLines = `  PID=21611  TID=21611  PPID=8014
  UID=1000  EUID=1000  SUID=1000  FSUID=1000  OwnerUID=1000  GID=1000  EGID=1000  SGID=1000  FSGID=1000  SupplementaryGIDs=91 190 1000
  Comm=localectl  TIDComm=localectl  Exe=/usr/bin/localectl
  CommandLine=localectl  Description=sd-system-localectl
  CGroup=/user.slice/user-1000.slice/session-c1.scope  Unit=session-c1.scope  Slice=user-1000.slice  UserUnit=n/a  Session=c1
  UniqueName=:1.98385  WellKnownNames=
  EffectiveCapabilities=
  PermittedCapabilities=
  InheritableCapabilities=
  BoundingCapabilities=cap_chown cap_dac_override cap_dac_read_search ` + `
          cap_fowner cap_fsetid cap_kill cap_setgid ` + `
          cap_setuid cap_setpcap cap_linux_immutable cap_net_bind_service ` + `
          cap_net_broadcast cap_net_admin cap_net_raw cap_ipc_lock ` + `
          cap_ipc_owner cap_sys_module cap_sys_rawio cap_sys_chroot ` + `
          cap_sys_ptrace cap_sys_pacct cap_sys_admin cap_sys_boot ` + `
          cap_sys_nice cap_sys_resource cap_sys_time cap_sys_tty_config ` + `
          cap_mknod cap_lease cap_audit_write cap_audit_control ` + `
          cap_setfcap cap_mac_override cap_mac_admin cap_syslog ` + `
          cap_wake_alarm cap_block_suspend cap_audit_read
`

func TestLinesAreThoseOfTheTranscript(t *testing.T) {
	if diff := cmp.Diff(seedLines, string(AppendLines(nil, seedClient(), "  "))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestCachePrintsWhatIsNew(t *testing.T) {
	var c Cache
	p := seedClient()
	for range 2 {
		if got := string(c.AppendLines(nil, p, "  ")); got != seedLines {
			t.Errorf("printed\n%s", got)
		}
	}
	for _, mode := range []jsontext.Mode{jsontext.Short, jsontext.Pretty} {
		var c Cache
		want := jsontext.Append(nil, jsontext.Object{{Key: "metadata", Value: JSON(p)}}, mode)
		for range 2 {
			got := jsontext.Append(nil, jsontext.Object{{Key: "metadata", Value: c.JSON(p, mode, 2)}}, mode)
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("JSON, -want +got\n%s", diff)
			}
		}
	}
	changed := seedClient()
	changed.PIDComm = "other"
	if got, want := string(c.AppendLines(nil, changed, "  ")), string(AppendLines(nil, changed, "  ")); got != want {
		t.Errorf("printed of a sender that has changed\n%s", got)
	}
}

func TestProcessIsReadFromProc(t *testing.T) {
	p, err := Process(uint64(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if p.PIDs.PPID != uint64(os.Getppid()) || p.Creds.EUID != uint64(os.Geteuid()) || p.Creds.FSGID != uint64(os.Getegid()) || p.TTY == "" {
		t.Errorf("this process is %+v", p)
	}
	if diff := cmp.Diff(os.Args, p.Cmdline); diff != "" {
		t.Errorf("arguments, -want +got\n%s", diff)
	}
	if _, err := Process(1 << 30); err == nil {
		t.Error("a process that cannot be is there")
	}
}

func TestWhatTheBusToldStays(t *testing.T) {
	p := &Peer{Metadata: abi.Metadata{Has: abi.AttachPIDs | abi.AttachPIDComm | abi.AttachCreds, PIDs: abi.PIDs{PID: uint64(os.Getpid())}, PIDComm: "told",
		Creds: abi.Creds{UID: abi.IDUnset, EUID: 4711}}}
	if err := p.Augment(abi.AttachAll, false); err != nil {
		t.Fatal(err)
	}
	if p.PIDComm != "told" || p.Creds.EUID != 4711 || p.Creds.UID != uint64(os.Getuid()) || p.Has&abi.AttachCaps == 0 {
		t.Errorf("augmented to %+v", p)
	}
}
