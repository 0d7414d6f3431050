using System.Globalization;
using Microsoft.Extensions.Hosting;

namespace Broker.AppHost;

/// <summary>
/// The folder that holds everything that a run leaves behind. One run at a time: the operating system drops the lock
/// when its holder dies, however it dies.
/// </summary>
internal sealed class DataFolder : BackgroundService
{
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

    /// <summary>Makes the folder and locks it.</summary>
    /// <param name="wanted">The user's choice, relative to where the user stands; null: the default.</param>
    public static DataFolder Open(string? wanted)
    {
        var path = string.IsNullOrWhiteSpace(wanted) ? Default : Path.GetFullPath(wanted);
        if (File.Exists(path))
        {
            throw new StartException($"DataRoot is {path}, which is a file; it must be a folder.", StartException.WrongSetting);
        }

        try
        {
            if (!Directory.Exists(path))
            {
                CreatePrivate(path);
            }

            return new DataFolder(path, Lock(path));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new StartException(
                $"The data folder {path} cannot be used: {failure.Message} Choose another one with --DataRoot=FOLDER.");
        }
    }

    public override void Dispose()
    {
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

    private static FileStream Lock(string path)
    {
        var holder = Path.Combine(path, "apphost.pid");
        try
        {
            var held = new FileStream(
                Path.Combine(path, "apphost.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            File.WriteAllText(holder, Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
            return held;
        }
        catch (IOException failure) when (IsSharingViolation(failure))
        {
            var process = File.Exists(holder) ? $" (process {File.ReadAllText(holder)})" : "";
            throw new StartException(
                $"Another run{process} uses the data in {path}. "
                + "Stop it, or choose another folder with --DataRoot=FOLDER.");
        }
    }

    /// <summary>EWOULDBLOCK of Linux and of macOS, ERROR_SHARING_VIOLATION of Windows.</summary>
    private static bool IsSharingViolation(IOException failure) =>
        failure.HResult is 11 or 35 or unchecked((int)0x80070020);
}
