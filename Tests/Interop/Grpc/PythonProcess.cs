using System.Diagnostics;
using Xunit;

namespace Broker.Tests.Interop.GrpcCalls;

/// <summary>A Python program with grpcio, the binding of gRPC's C core. Ended with the test.</summary>
internal sealed class PythonProcess : IAsyncDisposable
{
    private const string Interpreter = "/usr/bin/python3";

    private readonly Process _process;

    private PythonProcess(Process process)
    {
        _process = process;
    }

    public StreamReader Output => _process.StandardOutput;

    /// <summary>Starts a script of this folder; skips the test where Python or grpcio is not installed.</summary>
    public static async Task<PythonProcess> StartAsync(string script, params string[] arguments)
    {
        Assert.SkipUnless(File.Exists(Interpreter), "There is no " + Interpreter);
        using (var probe = Launch(["-c", "import grpc"]))
        {
            await probe.WaitForExitAsync();
            Assert.SkipUnless(probe.ExitCode == 0, "Python has no grpcio (on Debian: python3-grpcio).");
        }

        return new PythonProcess(Launch([Path.Combine(AppContext.BaseDirectory, "Grpc", script), .. arguments]));
    }

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

    private static Process Launch(IEnumerable<string> arguments) => Process.Start(
        new ProcessStartInfo(Interpreter, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
}
