//! Users end to end: what is remembered, what a changed file changes, and what is never let in.

use std::path::PathBuf;

use super::*;

fn hash_of(password: &str) -> String {
    bcrypt::hash_with_result(password, TEST_COST).unwrap().format_for_version(bcrypt::Version::TwoY)
}

fn users(lines: &str) -> (tempfile::TempDir, PathBuf, Htpasswd) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    std::fs::write(&path, lines).unwrap();
    let htpasswd = Htpasswd::open(Some(HtpasswdConfig { realm: "r".to_owned(), path: path.clone() }), &[]).unwrap();
    (directory, path, htpasswd)
}

#[tokio::test]
async fn the_right_password_and_no_other() {
    let (_directory, _, htpasswd) = users(&format!("alice:{}\nempty:{}\n", hash_of("pä:ss"), hash_of("")));
    assert_eq!(htpasswd.verify("alice", "pä:ss").await, Verdict::Right);
    assert_eq!(htpasswd.verify("alice", "pä:ss").await, Verdict::Right, "from memory");
    for (user, password) in
        [("alice", "pä:s"), ("alice", ""), ("Alice", "pä:ss"), ("bob", "pä:ss"), ("", ""), ("alicep", "ä:ss")]
    {
        assert_eq!(htpasswd.verify(user, password).await, Verdict::Wrong, "{user} {password}");
    }
    assert_eq!(htpasswd.verify("empty", "").await, Verdict::Right);
}

#[tokio::test]
async fn a_changed_file_ends_what_was_remembered() {
    let (_directory, path, htpasswd) = users(&format!("alice:{}\n", hash_of("old")));
    assert_eq!(htpasswd.verify("alice", "old").await, Verdict::Right);
    std::fs::write(&path, format!("alice:{}\nbob:{}\n", hash_of("new"), hash_of("b"))).unwrap();
    htpasswd.look_again();
    assert_eq!(htpasswd.verify("alice", "old").await, Verdict::Wrong);
    assert_eq!(htpasswd.verify("alice", "new").await, Verdict::Right);
    std::fs::write(&path, format!("bob:{}\n", hash_of("b"))).unwrap();
    htpasswd.look_again();
    assert_eq!(htpasswd.verify("alice", "new").await, Verdict::Wrong);
}

#[tokio::test]
async fn a_crowd_with_one_password_costs_one_verification() {
    let (_directory, _, mut htpasswd) = users(&format!("alice:{}\n", hash_of("a")));
    htpasswd.slots = Arc::new(Semaphore::new(0));
    let slots = Arc::clone(&htpasswd.slots);
    // More than may wait, were they not one question.
    let asked = futures_util::future::join_all((0..2 * MOST).map(|_| htpasswd.verify("alice", "a")));
    let let_go = async { slots.add_permits(1) };
    let (asked, ()) = tokio::join!(asked, let_go);
    assert!(asked.iter().all(|verdict| *verdict == Verdict::Right), "{asked:?}");
}

#[tokio::test]
async fn more_passwords_than_can_wait_are_told_so() {
    let (_directory, _, mut htpasswd) = users(&format!("alice:{}\n", hash_of("a")));
    htpasswd.slots = Arc::new(Semaphore::new(0));
    let htpasswd = Arc::new(htpasswd);
    let waiting: Vec<_> = (0..MOST)
        .map(|n| {
            let htpasswd = Arc::clone(&htpasswd);
            tokio::spawn(async move { htpasswd.verify("alice", &n.to_string()).await })
        })
        .collect();
    // This runtime has one thread and goes by turns, so afterwards all of them wait.
    for _ in 0..MOST {
        tokio::task::yield_now().await;
    }
    assert_eq!(htpasswd.verify("alice", "one more").await, Verdict::Busy);
    htpasswd.slots.add_permits(AT_ONCE);
    for one in waiting {
        assert_eq!(one.await.unwrap(), Verdict::Wrong);
    }
    assert_eq!(htpasswd.verify("alice", "a").await, Verdict::Right);
}

#[tokio::test]
async fn an_absent_file_is_made_with_one_user() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new").join("htpasswd");
    Htpasswd::open(Some(HtpasswdConfig { realm: "r".to_owned(), path: path.clone() }), &[]).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("docker:$2y$"));
}

#[test]
fn long_passwords_verify_as_in_go_and_are_not_made_here() {
    let long = "x".repeat(100);
    assert!(hash(&long).unwrap_err().contains("72 bytes"));
    // Go looks at the first 72 bytes too, so whoever has such a password keeps it.
    assert!(bcrypt::verify(&long, &hash_of(&"x".repeat(72))).unwrap());
}

fn robot(name: &str, password: &str, expires: i64) -> Robot {
    Robot { name: name.to_owned(), hash: PasswordHash::parse(&hash_of(password)).unwrap(), expires }
}

#[tokio::test]
async fn a_robot_is_let_in_until_its_time() {
    let htpasswd = Htpasswd::open(None, &[robot("ci", "secret", 1000)]).unwrap();
    assert_eq!(htpasswd.verify_at("ci", "secret", 999).await, Verdict::Right);
    for _ in 0..2 {
        assert_eq!(
            htpasswd.verify_at("ci", "secret", 1000).await,
            Verdict::Expired(1000),
            "even when it is remembered"
        );
    }
    assert_eq!(htpasswd.verify_at("ci", "wrong", 1000).await, Verdict::Wrong, "only who knows the password is told");
    assert_eq!(htpasswd.verify_at("cd", "secret", 0).await, Verdict::Wrong);
    assert_eq!(htpasswd.hash_of("ci"), None, "what was issued to it is renewed no longer");
}

#[tokio::test]
async fn robots_come_and_go_and_hide_users_of_their_name() {
    let (_directory, _, htpasswd) = users(&format!("alice:{}\nci:{}\n", hash_of("a"), hash_of("user")));
    assert_eq!(htpasswd.verify("ci", "user").await, Verdict::Right);
    htpasswd.adopt_robots(&[robot("ci", "robot", i64::MAX)]);
    assert_eq!(htpasswd.verify("ci", "robot").await, Verdict::Right);
    assert_eq!(htpasswd.verify("ci", "user").await, Verdict::Wrong);
    assert!(bcrypt::verify("robot", &htpasswd.hash_of("ci").unwrap()).unwrap());
    assert_eq!(htpasswd.verify("alice", "a").await, Verdict::Right);
    htpasswd.adopt_robots(&[]);
    assert_eq!(htpasswd.verify("ci", "robot").await, Verdict::Wrong);
}
