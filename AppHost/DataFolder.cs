using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Hosting;

namespace Broker.AppHost;

/// <summary>
/// The folder that holds everything that a run leaves behind. One run at a time: it is locked until AppHost, and on
/// Linux all that AppHost started, has ended, however it ends.
/// </summary>
internal sealed partial class DataFolder : BackgroundService
{
    /// <summary>What a killed AppHost leaves running ends by itself within about ten seconds.</summary>
    private static readonly TimeSpan LeftoversPatience = TimeSpan.FromSeconds(30);

    private readonly FileStream _lock;

    private DataFolder(string path, FileStream held) => (FullName, _lock) = (path, held);

    public string FullName { get; }

    /// <summary>
    /// Never inside the source tree: there it would be in the way of every tool that reads the tree, and a `git clean`
    /// would take it. E.g. /home/ann/.local/share/broker-aspire, or below $XDG_DATA_HOME.
    /// </summary>
    private static string Default
    {
        get
        {
            var user = Environment.GetFolderPath(
                Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify);
            return user.Length > 0 ? Path.Combine(user, "broker-aspire") : throw new StartException(
                "This user has no home folder for data. Say where to keep it with --DataRoot=FOLDER.");
        }
    }

    private string Holder => HolderIn(FullName);

    /// <summary>Makes the folder and locks it.</summary>
    /// <param name="wanted">The user's choice, relative to where the user stands; null: the default.</param>
    public static async Task<DataFolder> OpenAsync(string? wanted)
    {
        var path = string.IsNullOrWhiteSpace(wanted) ? Default : Path.GetFullPath(wanted);
        if (File.Exists(path))
        {
            throw new StartException(
                $"DataRoot is {path}, which is a file; it must be a folder.", StartException.WrongSetting);
        }

        try
        {
            if (!Directory.Exists(path))
            {
                CreatePrivate(path);
            }

            var held = await LockAsync(path);
            await File.WriteAllTextAsync(
                HolderIn(path), Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
            return new DataFolder(path, held);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new StartException(
                $"The data folder {path} cannot be used: {failure.Message} Choose another one with --DataRoot=FOLDER.");
        }
    }

    public override void Dispose()
    {
        File.Delete(Holder);
        _lock.Dispose();
        base.Dispose();
    }

    /// <summary>Nothing to do: the host holds this, and so the lock, until everything has stopped.</summary>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => Task.CompletedTask;

    private static void CreatePrivate(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path);
        }
        else
        {
            Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    private static string HolderIn(string path) => Path.Combine(path, "apphost.pid");

    private static async Task<FileStream> LockAsync(string path)
    {
        for (var watch = Stopwatch.StartNew(); ; await Task.Delay(TimeSpan.FromMilliseconds(100)))
        {
            try
            {
                var held = new FileStream(
                    Path.Combine(path, "apphost.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
                LetChildrenInherit(held);
                return held;
            }
            catch (IOException failure) when (IsSharingViolation(failure))
            {
                var holder = RunningHolder(path);
                if (holder is not null || watch.Elapsed > LeftoversPatience)
                {
                    throw new StartException(
                        $"{(holder is null ? "What an earlier run left running" : $"Another run (process {holder})")} "
                        + $"uses the data in {path}. Stop it, or choose another folder with --DataRoot=FOLDER.");
                }
            }
        }
    }

    /// <summary>The process that has the folder; null when it has ended, and only what it started is left.</summary>
    private static string? RunningHolder(string path)
    {
        try
        {
            var text = File.ReadAllText(HolderIn(path));
            using var process = Process.GetProcessById(int.Parse(text, CultureInfo.InvariantCulture));
            return process.HasExited ? null : text;
        }
        catch (Exception failure) when (failure is FileNotFoundException or ArgumentException or FormatException)
        {
            return null;
        }
    }

    /// <summary>EWOULDBLOCK of Linux and of macOS, ERROR_SHARING_VIOLATION of Windows.</summary>
    private static bool IsSharingViolation(IOException failure) =>
        failure.HResult is 11 or 35 or unchecked((int)0x80070020);

    /// <summary>
    /// Without FD_CLOEXEC the orchestrator and the services have the file open too, and flock(2) holds until the last
    /// of them has ended: a start right after a kill waits for brokers that still write.
    /// </summary>
    private static void LetChildrenInherit(FileStream file)
    {
        const int setFlags = 2;
        if (OperatingSystem.IsLinux() && FileControl((int)file.SafeFileHandle.DangerousGetHandle(), setFlags, 0) != 0)
        {
            throw new IOException($"fcntl failed with error {Marshal.GetLastPInvokeError()}.");
        }
    }

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int FileControl(int file, int command, int argument);
}
