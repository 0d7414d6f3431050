using System.Globalization;

namespace Aspire.Hosting.Local;

/// <summary>A Postgres server on a folder and a port of its own; the clusters of the system are not touched.</summary>
internal sealed class PostgresRecipe(PostgresServerResource resource, DataRoot root) : LaunchRecipe
{
    public const string ContainerDataPath = "/var/lib/postgresql/data";
    private const string Package = "postgresql";

    // Postgres refuses to run as root; this user comes with the Debian package.
    private const string SystemUser = "postgres";

    public override async Task<LaunchPlan> PrepareAsync(LaunchInput input, CancellationToken cancellationToken)
    {
        var server = Executables.Find("postgres", Package);
        var folder = resource.Annotations.OfType<ContainerMountAnnotation>()
            .FirstOrDefault(m => m.Target == ContainerDataPath)?.Source ?? root.FolderOf(resource.Name);
        Directory.CreateDirectory(folder);
        var privileges = await ChooseUserAsync(folder, cancellationToken);
        var data = Path.Combine(folder, "data");
        if (!Directory.Exists(data))
        {
            await InitializeAsync(folder, data, privileges, cancellationToken);
        }

        await WaitForOrphansAsync(data, cancellationToken);
        return new LaunchPlan
        {
            FileName = server,
            Arguments =
            [
                "-D", data,
                "-p", resource.PrimaryEndpoint.Port.ToString(CultureInfo.InvariantCulture),
                "-c", "listen_addresses=localhost",

                // TCP only: a socket's path has at most 107 bytes, and the folder may be deeper than that.
                "-c", "unix_socket_directories=",
                .. input.Arguments,
            ],
            Environment = input.Environment,
            WorkingDirectory = "/",
            Privileges = privileges,

            // SIGINT is the fast shutdown; SIGTERM would wait until the last client has gone.
            StopSignal = Signals.Interrupt,
        };
    }

    /// <summary>
    /// Nobody else when we are not root. Root hands the folder to the user postgres, who may be unable to reach it (a
    /// checkout in
    /// /root): then the server is also given the capability to pass through folders, or to override their modes
    /// where a container lacks the first.
    /// </summary>
    private static async Task<IReadOnlyList<string>> ChooseUserAsync(string folder, CancellationToken cancellationToken)
    {
        if (!Environment.IsPrivilegedProcess)
        {
            return [];
        }

        await Tool.RunAsync("chown", [$"{SystemUser}:", folder], cancellationToken);
        await Tool.RunAsync("chmod", ["700", folder], cancellationToken);
        List<string> user = ["--reuid", SystemUser, "--regid", SystemUser, "--clear-groups"];
        foreach (var capability in (string[])["", "dac_read_search", "dac_override"])
        {
            IReadOnlyList<string> privileges = capability.Length == 0
                ? user
                : [.. user, "--inh-caps", $"+{capability}", "--ambient-caps", $"+{capability}"];
            var (exitCode, _) = await Tool.TryRunAsync("setpriv", [.. privileges, "ls", folder], cancellationToken);
            if (exitCode == 0)
            {
                return privileges;
            }
        }

        throw new DistributedApplicationException(
            $"Postgres runs as the user '{SystemUser}', who cannot reach {folder}. " +
            "Choose another folder with --DataRoot=FOLDER.");
    }

    // The folder gets its name when it is complete, so that an initdb that was cut off is repeated from the start.
    private async Task InitializeAsync(
        string folder, string data, IReadOnlyList<string> privileges, CancellationToken cancellationToken)
    {
        var unfinished = $"{data}.new";
        if (Directory.Exists(unfinished))
        {
            Directory.Delete(unfinished, recursive: true);
        }

        // The folder can be entered by its owner alone; within it the server's user must be able to read the file.
        var passwordFile = Path.Combine(folder, "password");
        await File.WriteAllTextAsync(
            passwordFile, await resource.PasswordParameter.GetValueAsync(cancellationToken), cancellationToken);
        try
        {
            string[] arguments =
            [
                Executables.Find("initdb", Package),
                "-D", unfinished,
                "--username", await resource.UserNameReference.GetValueAsync(cancellationToken) ?? SystemUser,
                "--pwfile", passwordFile,
                "--auth", "scram-sha-256",
                "--encoding", "UTF8",
                "--locale", "C.UTF-8",
                "--no-instructions",
            ];
            await Tool.RunAsync(
                "setpriv", [.. privileges, "--pdeathsig", "KILL", "--", .. arguments], cancellationToken);
        }
        finally
        {
            File.Delete(passwordFile);
        }

        Directory.Move(unfinished, data);
    }

    // When the first process of a server is killed, the others notice within milliseconds; until then a new server
    // refuses
    // to start ("pre-existing shared memory block is still in use"). The working directory of each is the data folder.
    private static async Task WaitForOrphansAsync(string data, CancellationToken cancellationToken)
    {
        if (!File.Exists(Path.Combine(data, "postmaster.pid")) || !Directory.Exists("/proc"))
        {
            return;
        }

        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(EngineLimits.KillTimeout);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        try
        {
            while (Directory.EnumerateDirectories("/proc").Any(process => WorksIn(process, data)))
            {
                await timer.WaitForNextTickAsync(timeout.Token);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new DistributedApplicationException(
                $"A Postgres server that this application did not start uses {data}.");
        }
    }

    private static bool WorksIn(string process, string folder)
    {
        try
        {
            return int.TryParse(Path.GetFileName(process), out _) &&
                Directory.ResolveLinkTarget(Path.Combine(process, "cwd"), returnFinalTarget: false)?.FullName == folder;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The process has just ended, or is somebody else's, and then it does not use our folder.
            return false;
        }
    }
}
