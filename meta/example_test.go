package meta_test

import (
	"fmt"
	"log"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

// A message is received together with the kernel's word on who sent it.
func ExampleSender_Collect() {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if err := meta.Socket(fds[0]).SetPassing(true); err != nil {
		log.Fatal(err)
	}
	if _, err := unix.Write(fds[1], []byte("hello")); err != nil {
		log.Fatal(err)
	}

	message, oob := make([]byte, 64), make([]byte, meta.MaxControl)
	n, oobn, _, _, err := unix.Recvmsg(fds[0], message, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		log.Fatal(err)
	}
	control, err := meta.ParseControl(oob[:oobn])
	if err != nil {
		control.Close()
		log.Fatal(err)
	}
	defer control.Close()

	senderAllows, receiverAsks := meta.AllKinds, meta.KindCreds|meta.KindPIDs
	data := control.Sender.Collect(meta.Attach(senderAllows, receiverAsks))
	fmt.Printf("%s with %s\n", message[:n], data.Has)
	fmt.Println(data.PIDs.PID == uint32(os.Getpid()), data.Creds.UID == uint32(os.Getuid()))
	// Output:
	// hello with creds,pids
	// true true
}
