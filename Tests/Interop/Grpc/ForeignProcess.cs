using System.Diagnostics;
using System.Runtime.CompilerServices;
using Xunit;

namespace Broker.Tests.Interop.GrpcCalls;

/// <summary>
/// A program in another language, from this folder: Python with grpcio, the binding of gRPC's C core, or Node with
/// grpc-js, which is written from the ground up in JavaScript. Ended with the test.
/// </summary>
internal sealed class ForeignProcess : IAsyncDisposable
{
    public const string Python = "python";
    public const string Node = "node";

    private readonly Process _process;

    private ForeignProcess(Process process)
    {
        _process = process;
    }

    public StreamReader Output => _process.StandardOutput;

    /// <summary>Starts a script; skips the test where the language or its gRPC is not installed.</summary>
    public static async Task<ForeignProcess> StartAsync(string language, string script, params string[] arguments) =>
        new(language == Python
            ? await StartPythonAsync([Path.Combine(Here(), $"{script}.py"), .. arguments])
            : StartNode([Path.Combine(Here(), "node", $"{script}.js"), .. arguments]));

    /// <summary>Waits for the end and returns what the program wrote.</summary>
    public async Task<(int ExitCode, string Text)> WaitAsync(TimeSpan patience)
    {
        var output = _process.StandardOutput.ReadToEndAsync();
        var error = _process.StandardError.ReadToEndAsync();
        await _process.WaitForExitAsync().WaitAsync(patience);
        return (_process.ExitCode, await output + await error);
    }

    public void Kill() => _process.Kill();

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
    }

    private static async Task<Process> StartPythonAsync(string[] arguments)
    {
        // Debian's own interpreter: another one on the PATH would not see Debian's python3-grpcio.
        const string Interpreter = "/usr/bin/python3";
        Assert.SkipUnless(File.Exists(Interpreter), $"There is no {Interpreter}.");
        using var probe = Launch(Interpreter, ["-c", "import grpc"]);
        await probe.WaitForExitAsync();
        Assert.SkipUnless(probe.ExitCode == 0, "Python has no grpcio (on Debian: python3-grpcio).");
        return Launch(Interpreter, arguments);
    }

    private static Process StartNode(string[] arguments)
    {
        var interpreter = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
            .Select(folder => Path.Combine(folder, "node")).FirstOrDefault(File.Exists);
        Assert.SkipWhen(interpreter is null, "There is no node (on Debian: nodejs).");
        var modules = Path.Combine(Here(), "node", "node_modules");
        Assert.SkipUnless(Directory.Exists(modules), $"There is no {modules}: ./test makes it, by npm ci.");
        return Launch(interpreter, arguments);
    }

    private static Process Launch(string interpreter, IEnumerable<string> arguments) => Process.Start(
        new ProcessStartInfo(interpreter, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;

    private static string Here([CallerFilePath] string file = "") => Path.GetDirectoryName(file)!;
}
