package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/manpage"
)

func newManCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "man [flags] [COMMAND]",
		Short: "Make the manual pages",
		Long: `Prints the manual page of kdbus, or that of one of its commands, in the format of
man(7); or writes all of them into a directory. They are made of what --help prints.`,
		Example: `  kdbus man monitor | man -l -
  kdbus man --directory=/usr/local/share/man/man1`,
		Args: usage(cobra.MaximumNArgs(1)),
	}
	directory := cmd.Flags().String("directory", "", "write all pages into `DIRECTORY`, which is made if it is not there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pages := manpage.Pages(cmd.Root(), "kdbus", exitCodes)
		if *directory != "" {
			if len(args) > 0 {
				return &exitError{exitUsage, errors.New("--directory is for all pages; leave out " + args[0])}
			}
			return writePages(*directory, pages)
		}
		name := "kdbus"
		if len(args) == 1 {
			name += "-" + args[0]
		}
		for _, p := range pages {
			if p.Name == name {
				_, err := cmd.OutOrStdout().Write(p.Text)
				return err
			}
		}
		return fmt.Errorf("there is no command %s; `kdbus --help` lists them", args[0])
	}
	return cmd
}

func writePages(directory string, pages []manpage.Page) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	for _, p := range pages {
		if err := os.WriteFile(filepath.Join(directory, p.FileName()), p.Text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
