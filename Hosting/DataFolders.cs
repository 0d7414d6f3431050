using System.Diagnostics;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Broker.Hosting;

/// <summary>Where nodes on this machine keep their data.</summary>
internal static partial class DataFolders
{
    /// <summary>What a killed AppHost leaves running ends by itself within about ten seconds.</summary>
    private static readonly TimeSpan LeftoversPatience = TimeSpan.FromSeconds(30);

    /// <summary>Never inside a source tree, where every tool would read it and `git clean` take it.</summary>
    public static string OfVolume(string name)
    {
        var user = Environment.GetFolderPath(
            Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify);
        return user.Length > 0
            ? Path.Combine(user, "broker-aspire", "volumes", name)
            : throw new DistributedApplicationException(
                "This user has no home folder for volumes. Use WithDataFolder in place of WithDataVolume.");
    }

    public static string Of(string node, BrokerResource cluster, IServiceProvider services)
    {
        var folder = cluster.DataFolder
            ?? Path.Combine(services.GetRequiredService<FolderOfThisRun>().FullName, cluster.Name);
        return Path.Combine(folder, node);
    }

    /// <summary>For clusters whose data does not outlive the run.</summary>
    public static void AddFolderOfThisRun(this IServiceCollection services)
    {
        if (services.All(static one => one.ServiceType != typeof(FolderOfThisRun)))
        {
            services.AddSingleton<FolderOfThisRun>();
            services.AddHostedService(static all => all.GetRequiredService<FolderOfThisRun>());
        }
    }

    /// <summary>
    /// After a kill -9 of the AppHost its brokers live on for some seconds, with their folders locked: a start right
    /// after it waits for them, rather than to have new ones refused.
    /// </summary>
    public static async Task WaitUntilFreeAsync(string folder, CancellationToken cancellationToken)
    {
        // The lock that a broker holds as long as it lives (Broker/Storage/Identity).
        var path = Path.Combine(folder, "node.lock");
        for (var watch = Stopwatch.StartNew(); File.Exists(path) && watch.Elapsed < LeftoversPatience;)
        {
            try
            {
                using var free = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                return;
            }
            catch (IOException)
            {
                // It is held. When that lasts, the broker itself says by whom, and ends.
                await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken);
            }
        }
    }

    /// <summary>Made when it is asked for first, and removed when everything has stopped.</summary>
    private sealed partial class FolderOfThisRun(ILogger<FolderOfThisRun> logger) : IHostedLifecycleService
    {
        private static readonly TimeSpan RemovalPatience = TimeSpan.FromSeconds(5);

        private readonly Lazy<DirectoryInfo> _folder =
            new(static () => Directory.CreateTempSubdirectory("broker-aspire-"));

        public string FullName => _folder.Value.FullName;

        public async Task StoppedAsync(CancellationToken cancellationToken)
        {
            for (var watch = Stopwatch.StartNew(); _folder.IsValueCreated;)
            {
                try
                {
                    _folder.Value.Delete(recursive: true);
                    return;
                }
                catch (IOException) when (watch.Elapsed < RemovalPatience)
                {
                    // A node that has not ended yet has written meanwhile.
                    await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken);
                }
                catch (IOException failure)
                {
                    LogLeft(failure, FullName);
                    return;
                }
            }
        }

        public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        [LoggerMessage(
            Level = LogLevel.Warning, Message = "{Folder}, which is needed no more, could not be removed.")]
        private partial void LogLeft(IOException failure, string folder);
    }
}
