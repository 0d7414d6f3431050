using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;
using Broker.Tests.Demo;
using Npgsql;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>A Postgres without data has to be set up before those who need it find their databases.</summary>
public sealed class FirstStartTests
{
    private const int Times = 5;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task The_first_start_of_Postgres_gives_both_services_their_databases_each_time()
    {
        for (var time = 0; time < Times; time++)
        {
            using var timeout = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            timeout.CancelAfter(Limit);
            await StartOnceAsync(timeout.Token);
        }
    }

    [Fact]
    public async Task Postgres_starts_in_a_folder_that_its_own_user_cannot_reach()
    {
        var closed = Directory.CreateTempSubdirectory("broker-first-start-");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(
                closed.FullName, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        timeout.CancelAfter(Limit);
        try
        {
            await StartOnceAsync(timeout.Token, closed.CreateSubdirectory("data root"));
        }
        finally
        {
            closed.Delete(recursive: true);
        }
    }

    private static async Task StartOnceAsync(CancellationToken cancellationToken, DirectoryInfo? folder = null)
    {
        var data = folder ?? Directory.CreateTempSubdirectory("broker-first-start-");
        try
        {
            var builder = await RunningSystem.DescribeAsync(data.FullName, cancellationToken);
            foreach (var name in (string[])[.. RunningSystem.Brokers, "prometheus"])
            {
                builder.Resources.Single(one => one.Name == name).Annotations.Add(new ExplicitStartupAnnotation());
            }

            await using var app = await builder.BuildAsync(cancellationToken);
            await app.StartAsync(cancellationToken);
            await Task.WhenAll(AnswersAsync(app, "publisher"), AnswersAsync(app, "subscriber"));
            await HasTableAsync(app, "outbox");
            await HasTableAsync(app, "inbox");
            await app.StopAsync(cancellationToken);
        }
        finally
        {
            data.Delete(recursive: true);
        }

        async Task AnswersAsync(DistributedApplication app, string service)
        {
            var state = await app.ResourceNotifications.WaitForResourceAsync(
                service, [KnownResourceStates.Running, .. KnownResourceStates.TerminalStates], cancellationToken);
            Assert.Equal(KnownResourceStates.Running, state);
            using var http = app.CreateHttpClient(service, "http");
            while (!await IsAliveAsync(http))
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken);
            }

            Assert.True(app.ResourceNotifications.TryGetCurrentState(service, out var current));
            Assert.Equal(KnownResourceStates.Running, current.Snapshot.State?.Text);
        }

        async Task<bool> IsAliveAsync(HttpClient http)
        {
            try
            {
                using var answer = await http.GetAsync(new Uri("/alive", UriKind.Relative), cancellationToken);
                return answer.IsSuccessStatusCode;
            }
            catch (HttpRequestException)
            {
                // It does not listen yet.
                return false;
            }
        }

        // Made by the service, in the database of the same name.
        async Task HasTableAsync(DistributedApplication app, string database)
        {
            var address = await app.GetConnectionStringAsync(database, cancellationToken);
            await using var source = NpgsqlDataSource.Create($"{address};Pooling=false");
            await using var command = source.CreateCommand($"SELECT to_regclass('{database}') IS NOT NULL");
            while (await command.ExecuteScalarAsync(cancellationToken) is not true)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken);
            }
        }
    }
}
