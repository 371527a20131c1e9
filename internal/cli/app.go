package cli

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/paths"
)

// App is what a command may use of the world around it.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	Layout   paths.Layout
	Getenv   func(string) string
	Root     bool // effective user
	Terminal bool // a person sees In and Out
	// Exe is this program's own file.
	Exe string
	// Exec replaces this process (execve(2)).
	Exec func(path string, args, env []string) error
}

// System is the App of the real process.
func System() *App {
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	return &App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Layout:   paths.Default(),
		Getenv:   os.Getenv,
		Root:     os.Geteuid() == 0,
		Terminal: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())),
		Exe:      exe,
		Exec:     syscall.Exec,
	}
}

// Main runs the command that args (with argv[0]) name and returns the exit code.
func Main(args []string, a *App) int {
	if name := filepath.Base(args[0]); isClient(name) {
		return a.report(a.execClient(name, args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return a.report(a.run(ctx, args[1:]))
}

func (a *App) run(ctx context.Context, args []string) error {
	root := a.rootCommand()
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

func (a *App) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "boxyard",
		Short:         "Docker and Kubernetes on one machine, with one image store",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          rejectUnknown,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, err.Error())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: "machine", Title: "The machine:"},
		&cobra.Group{ID: "client", Title: "Docker's and Kubernetes' own commands (all arguments are theirs):"},
	)
	for _, c := range []*cobra.Command{
		a.upCommand(), a.downCommand(), a.statusCommand(), a.dfCommand(), a.logsCommand(), a.restartCommand(), a.urlCommand(), a.registryCommand(),
		a.installCommand(), a.uninstallCommand(), a.resetCommand(), a.versionCommand(),
	} {
		c.GroupID = "machine"
		root.AddCommand(c)
	}
	for _, c := range a.clientCommands() {
		c.GroupID = "client"
		root.AddCommand(c)
	}
	root.AddCommand(a.daemonCommand())
	return root
}

// rejectUnknown is the Args of the root: what is left there names no command.
func rejectUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	f := &fault.Error{
		Code:    "usage",
		Summary: "there is no command " + args[0],
		Hint:    "boxyard --help",
		Exit:    fault.ExitUsage,
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		f.Hint = "boxyard " + strings.Join(near, ", or boxyard ")
	}
	return f
}

// usage is the error of arguments that a command does not take.
func usage(cmd *cobra.Command, summary string) error {
	return &fault.Error{Code: "usage", Summary: summary, Hint: cmd.CommandPath() + " --help", Exit: fault.ExitUsage}
}

// atMost is an Args function.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usage(cmd, cmd.CommandPath()+" does not take the argument "+args[n])
		}
		return nil
	}
}

func (a *App) client() *controlapi.Client { return controlapi.NewClient(a.Layout.ControlSocket()) }

// needsRoot is nil for root.
func (a *App) needsRoot(cmd *cobra.Command) error {
	if a.Root {
		return nil
	}
	return &fault.Error{
		Code:    "needs-root",
		Summary: cmd.CommandPath() + " needs root",
		Hint:    "sudo " + cmd.CommandPath(),
		Exit:    fault.ExitNeedsRoot,
	}
}

// runWithOutput adds -o to a command, and makes run what it runs: asJSON says what was asked for.
func runWithOutput(cmd *cobra.Command, run func(cmd *cobra.Command, args []string, asJSON bool) error) *cobra.Command {
	format := cmd.Flags().StringP("output", "o", "", "output format: json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *format != "" && *format != "json" {
			return usage(cmd, "the output format "+*format+" is not known; allowed: json")
		}
		return run(cmd, args, *format == "json")
	}
	return cmd
}

func (a *App) printJSON(v any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
