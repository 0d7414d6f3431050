using System.Diagnostics;
using Npgsql;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>
/// A real Postgres of the test's own: a free port, a folder under the temporary one, a user that is not root (the
/// server refuses root). It can be killed as a crash would kill it, and started again over the same folder.
/// </summary>
public sealed class PostgresServer : IAsyncLifetime
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(30);

    private readonly string _folder = Directory.CreateTempSubdirectory("broker-postgres-").FullName;
    private readonly int _port = FreePorts.Take();
    private Process? _process;
    private string _database = "postgres";
    private int _databases;

    // The pool is small so that a test notices leaked connections.
    public string ConnectionString =>
        $"Host=127.0.0.1;Port={_port};Username=postgres;Database={_database};"
        + "Maximum Pool Size=20;Timeout=5;Command Timeout=10";

    public async ValueTask InitializeAsync()
    {
        if (Environment.IsPrivilegedProcess)
        {
            await RunAsync("chown", ["postgres", _folder]);
        }

        await RunAsync(
            Command("initdb", out var arguments),
            [.. arguments, "-D", Data, "-U", "postgres", "-A", "trust", "--no-sync"]);
        await StartAsync();
    }

    /// <summary>Gives the next test an empty database of its own: one server serves a whole class.</summary>
    public async Task UseNewDatabaseAsync()
    {
        _database = "postgres";
        var name = $"test_{++_databases}";
        await using var connection = new NpgsqlConnection(ConnectionString + ";Pooling=false");
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"CREATE DATABASE {name}";
        await command.ExecuteNonQueryAsync();
        _database = name;
    }

    public async Task StartAsync()
    {
        var deadline = Stopwatch.StartNew();
        while (true)
        {
            // Right after a kill the orphaned backends still hold the shared memory for a moment, and the server
            // refuses to start.
            _process ??= Launch();
            if (await CanConnectAsync())
            {
                return;
            }

            if (_process.HasExited)
            {
                _process.Dispose();
                _process = null;
            }

            if (deadline.Elapsed > StartTimeout)
            {
                throw new TimeoutException($"Postgres did not start: {await File.ReadAllTextAsync(LogFile)}");
            }

            await Task.Delay(20);
        }
    }

    public int Port => _port;

    /// <summary>To its own port, or to that of something that passes everything on to it.</summary>
    public NpgsqlDataSource Connect(int? port = null) => NpgsqlDataSource.Create(
        new NpgsqlConnectionStringBuilder(ConnectionString) { Port = port ?? _port }.ConnectionString);

    /// <summary>Ends the server as a crash would.</summary>
    public async Task KillAsync()
    {
        _process!.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _process = null;
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is not null)
        {
            await KillAsync();
        }

        for (var attempt = 0; Directory.Exists(_folder) && attempt < 100; attempt++)
        {
            try
            {
                Directory.Delete(_folder, recursive: true);
            }
            catch (IOException)
            {
                await Task.Delay(20);  // A backend that has not noticed the kill yet may still write.
            }
        }
    }

    private string Data => Path.Combine(_folder, "data");

    private string LogFile => Path.Combine(_folder, "log");

    private Process Launch()
    {
        var command = Command("postgres", out var prefix);
        string[] own = ["-D", Data, "-p", $"{_port}", "-h", "127.0.0.1", "-k", _folder, "-c", "shared_buffers=16MB"];
        string[] arguments = [.. prefix, .. own];
        var line = string.Join(' ', arguments.Prepend(command).Select(argument => $"'{argument}'"));
        return Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"exec {line} >>'{LogFile}' 2>&1"]))!;
    }

    // setpriv becomes the server by exec, so the process that is killed is the server itself.
    private static string Command(string program, out string[] prefix)
    {
        var path = Directory.GetDirectories("/usr/lib/postgresql")
            .OrderDescending()
            .Select(folder => Path.Combine(folder, "bin", program))
            .First(File.Exists);
        prefix = Environment.IsPrivilegedProcess ? ["--reuid=postgres", "--regid=postgres", "--init-groups", path] : [];
        return Environment.IsPrivilegedProcess ? "setpriv" : path;
    }

    private async Task<bool> CanConnectAsync()
    {
        try
        {
            await using var connection = new NpgsqlConnection(ConnectionString + ";Pooling=false");
            await connection.OpenAsync();
            return true;
        }
        catch (NpgsqlException)
        {
            return false;
        }
    }

    private static async Task RunAsync(string program, IEnumerable<string> arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{program} failed: {await output}{error}");
    }
}
