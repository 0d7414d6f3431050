using System.Diagnostics;
using System.Globalization;
using Xunit;

namespace Broker.Tests.EndToEnd.Engine;

public sealed class KilledHostTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task All_processes_die_with_an_AppHost_that_is_killed()
    {
        var folder = TinyApp.NewFolder();
        var host = typeof(Projects.AppHost).Assembly.Location;
        using var process = Process.Start(new ProcessStartInfo("dotnet", ["exec", host, $"--DataRoot={folder}"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        try
        {
            // Redis, three brokers, Prometheus, Postgres and one of its own processes.
            var descendants = await UntilAsync(() => DescendantsOf(process.Id), found => found.Count >= 7);
            process.Kill();
            await process.WaitForExitAsync(Cancel);
            await UntilAsync(() => descendants.Where(TinyApp.IsAlive).ToList(), alive => alive.Count == 0);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }

            await UntilAsync(() => Directory.Exists(folder), exists => TryDelete(folder));
        }
    }

    private static bool TryDelete(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
            return true;
        }
        catch (IOException)
        {
            // A dying process has just written another file.
            return false;
        }
    }

    private static async Task<T> UntilAsync<T>(Func<T> look, Func<T, bool> isEnough)
    {
        var deadline = Stopwatch.StartNew();
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        while (true)
        {
            var seen = look();
            if (isEnough(seen))
            {
                return seen;
            }

            Assert.True(deadline.Elapsed < TimeSpan.FromSeconds(60), $"Not reached within a minute; last seen: {seen}");
            await timer.WaitForNextTickAsync(Cancel);
        }
    }

    private static List<int> DescendantsOf(int ancestor)
    {
        var parents = new Dictionary<int, int>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), out var id) && ParentOf(id) is { } parent)
            {
                parents[id] = parent;
            }
        }

        return [.. parents.Keys.Where(IsDescendant)];

        bool IsDescendant(int id)
        {
            while (parents.TryGetValue(id, out var parent))
            {
                if (parent == ancestor)
                {
                    return true;
                }

                id = parent;
            }

            return false;
        }
    }

    // "123 (name) S 45 …": the parent is the second field after the name, which may hold spaces.
    private static int? ParentOf(int id)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{id}/stat");
            return int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1], CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            return null;
        }
    }
}
