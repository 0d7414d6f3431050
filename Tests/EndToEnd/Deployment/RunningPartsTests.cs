using System.Diagnostics;
using System.Text.Json;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;
using Broker.Tests.Demo;
using Npgsql;
using Xunit;

namespace Broker.Tests.EndToEnd.Deployment;

/// <summary>
/// What is published is tried on the running system, as far as it goes without containers and without k6.
/// </summary>
[Collection(BrokerSystemCollection.Name)]
public sealed class RunningPartsTests(BrokerSystem fixture, PublishedSystem published) : IClassFixture<PublishedSystem>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_job_of_compose_creates_databases_that_are_missing_and_can_be_repeated()
    {
        string[] names = ["compose_outbox", "compose_inbox"];
        var job = published.Services["postgres-databases"];
        Assert.Contains("for database in outbox inbox;", job.Command[2], StringComparison.Ordinal);
        var server = new NpgsqlConnectionStringBuilder(
            await fixture.System.ConnectionStringAsync("postgres", Cancellation))
        { Database = "postgres" };
        for (var run = 0; run < 2; run++)
        {
            var start = new ProcessStartInfo("sh", ["-c", job.Command[2]
                .Replace("$$", "$", StringComparison.Ordinal)
                .Replace("outbox inbox", string.Join(' ', names), StringComparison.Ordinal)]);
            start.Environment["PGHOST"] = server.Host;
            start.Environment["PGPORT"] = $"{server.Port}";
            start.Environment["PGUSER"] = server.Username;
            start.Environment["PGPASSWORD"] = server.Password;
            var (exitCode, output) = await PublishedSystem.RunAsync(start);
            Assert.True(exitCode == 0, output);
            Assert.Equal(names.Order(), await DatabasesAsync(server.ConnectionString, names));
        }

        var wrong = new ProcessStartInfo("sh", ["-c", job.Command[2].Replace("$$", "$", StringComparison.Ordinal)]);
        wrong.Environment["PGHOST"] = server.Host;
        wrong.Environment["PGPORT"] = "1";
        Assert.NotEqual(0, (await PublishedSystem.RunAsync(wrong)).ExitCode);
    }

    [Theory]
    [InlineData("smoke", "HTTP publish", "gRPC publish", "broker publish", "HTTP read")]
    [InlineData("load", "HTTP publish", "gRPC publish", "broker publish", "HTTP read")]
    [InlineData("stress", "HTTP publish", "gRPC publish", "broker publish")]
    [InlineData("soak", "HTTP publish", "gRPC publish", "broker publish")]
    public async Task Each_k6_script_runs_its_functions_against_the_system(string script, params string[] calls)
    {
        var folder = Path.Combine(PublishedSystem.Root, "Tests", "k6");
        var node = Path.Combine(PublishedSystem.Root, "Tests", "Interop", "Grpc", "node", "node_modules");
        Assert.SkipUnless(Directory.Exists(node), "Node's gRPC is not installed: ./test installs it.");
        var start = new ProcessStartInfo("node", ["harness/run.js", $"{script}.js"]) { WorkingDirectory = folder };
        start.Environment["PUBLISHER_HTTP"] = fixture.System.Endpoint("publisher", "http").ToString().TrimEnd('/');
        start.Environment["SUBSCRIBER_HTTP"] = fixture.System.Endpoint("subscriber", "http").ToString().TrimEnd('/');
        start.Environment["PUBLISHER_GRPC"] = fixture.System.Endpoint("publisher", "grpc").Authority;
        start.Environment["BROKER_GRPC"] = fixture.System.Endpoint(RunningSystem.Brokers[0], "grpc").Authority;

        var (exitCode, output) = await PublishedSystem.RunAsync(start);

        Assert.True(exitCode == 0, output);
        var seen = JsonDocument.Parse(output.Split('\n').Last(line => line.StartsWith('{'))).RootElement;
        Assert.Equal(0, seen.GetProperty("counters").GetProperty("wrong_answers").GetInt32());
        Assert.Equal(0, seen.GetProperty("counters").GetProperty("refusals").GetInt32());
        Assert.All(calls, call => Assert.True(
            seen.GetProperty("checks").GetProperty($"{call} is answered").GetProperty("passes").GetInt32() > 0, call));
        Assert.Equal(script is "smoke" or "soak", seen.GetProperty("calls").GetProperty("stream").GetInt32() > 0);
    }

    [Fact]
    public async Task Where_k6_is_installed_its_scripts_are_resources_that_wait_for_their_start()
    {
        var folder = Directory.CreateTempSubdirectory("broker-k6-");
        var path = Environment.GetEnvironmentVariable("PATH");
        await File.WriteAllTextAsync(Path.Combine(folder.FullName, "k6"), "#!/bin/sh\n", Cancellation);
        try
        {
            Environment.SetEnvironmentVariable("PATH", $"{folder.FullName}{Path.PathSeparator}{path}");
            await using var builder = await DistributedApplicationTestingBuilder.CreateAsync<Projects.AppHost>(
                [$"--DataRoot={Path.Combine(folder.FullName, "data")}"], Cancellation);
            var tests = builder.Resources.OfType<ExecutableResource>()
                .Where(resource => resource.Name.StartsWith("k6-", StringComparison.Ordinal)).ToList();

            Assert.Equal((string[])["k6-smoke", "k6-load", "k6-stress", "k6-soak"], tests.Select(one => one.Name));
            Assert.All(tests, one =>
            {
                Assert.Single(one.Annotations.OfType<ExplicitStartupAnnotation>());
                Assert.Equal(Path.Combine(folder.FullName, "k6"), one.Command);
                Assert.True(File.Exists(Path.Combine(one.WorkingDirectory, one.Name["k6-".Length..] + ".js")));
            });
        }
        finally
        {
            Environment.SetEnvironmentVariable("PATH", path);
            folder.Delete(recursive: true);
        }
    }

    private static async Task<List<string>> DatabasesAsync(string connectionString, string[] names)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync(Cancellation);
        await using var command = new NpgsqlCommand(
            "SELECT datname FROM pg_database WHERE datname = ANY($1) ORDER BY datname", connection);
        command.Parameters.AddWithValue(names);
        var found = new List<string>();
        await using var reader = await command.ExecuteReaderAsync(Cancellation);
        while (await reader.ReadAsync(Cancellation))
        {
            found.Add(reader.GetString(0));
        }

        return found;
    }
}
