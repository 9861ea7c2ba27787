package activation

// PretendSystemd has the code believe what runs says about systemd running this machine. It returns what undoes that.
func PretendSystemd(runs func() bool) (undo func()) {
	before := systemdRuns
	systemdRuns = runs
	return func() { systemdRuns = before }
}
