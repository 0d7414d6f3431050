using System.Globalization;

namespace Aspire.Hosting.Local;

/// <summary>
/// Keeps a second application off the same data. The system drops the lock when its holder dies, however it dies.
/// </summary>
internal sealed class DataRootLock : IDisposable
{
    private readonly FileStream _file;

    private DataRootLock(FileStream file) => _file = file;

    public static DataRootLock Acquire(DataRoot root)
    {
        Directory.CreateDirectory(root.Path);
        Directory.CreateDirectory(root.LogFolder);
        var holder = Path.Combine(root.Path, "apphost.pid");
        try
        {
            var file = new FileStream(
                Path.Combine(root.Path, "apphost.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            File.WriteAllText(holder, Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
            return new DataRootLock(file);
        }
        catch (IOException e) when (e is not DirectoryNotFoundException and not FileNotFoundException)
        {
            var id = File.Exists(holder) ? $" (process {File.ReadAllText(holder)})" : "";
            throw new DistributedApplicationException(
                $"Another run{id} uses the data in {root.Path}. " +
                "Stop it, or choose another folder with --DataRoot=FOLDER.",
                e);
        }
    }

    public void Dispose() => _file.Dispose();
}
